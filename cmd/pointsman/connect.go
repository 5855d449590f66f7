package main

import (
	"bytes"
	"fmt"
	"os"

	"pointsman/internal/api"
)

const defaultSocket = "./data/pointsman.sock"

// client finds the controller to speak to; nothing is dialled yet.
func (a *app) client() (*api.Client, error) {
	if a.server != "" {
		if a.socket != "" {
			return nil, failed("give one of them", "both --server and --socket are given")
		}
		token, err := a.token()
		if err != nil {
			return nil, err
		}
		c, err := api.NewClient(api.ClientConfig{Server: a.server, Token: token})
		if err != nil {
			return nil, failed("write it as http://127.0.0.1:8053", "%w", err)
		}
		return c, nil
	}
	socket, err := a.findSocket()
	if err != nil {
		return nil, err
	}
	cfg := api.ClientConfig{Socket: socket}
	if a.tokenFile != "" { // who asks; the socket itself wants none
		if cfg.Token, err = a.token(); err != nil {
			return nil, err
		}
	}
	return api.NewClient(cfg)
}

func (a *app) findSocket() (string, error) {
	if a.socket != "" {
		return a.socket, nil
	}
	if a.config != "" {
		return a.socketOf(a.config)
	}
	if s := a.env("POINTSMAN_SOCKET"); s != "" {
		return s, nil
	}
	return defaultSocket, nil
}

func (a *app) token() ([]byte, error) {
	path := orElse(a.tokenFile, a.env("POINTSMAN_TOKEN_FILE"))
	if path == "" {
		return nil, failed("give --token-file with the file that controller.token_file names", "--server needs a token")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, failed("check --token-file", "read token: %w", err)
	}
	token := bytes.TrimSpace(data)
	if len(token) < api.MinToken {
		return nil, failed(fmt.Sprintf("write a random one, such as by: head -c 32 /dev/urandom | base64 > %s", path),
			"token in %s is shorter than %d bytes", path, api.MinToken)
	}
	return token, nil
}

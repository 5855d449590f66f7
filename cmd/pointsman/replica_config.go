package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"

	"pointsman/healthcheck"
	"pointsman/internal/config"
	"pointsman/internal/failover"
	"pointsman/replication"
	"pointsman/replication/ots"
)

// replicaConfig is what the file says of an instance's replication, for the
// room that does it. Keys are read at every use.
func replicaConfig(i failover.InstanceName, c *config.Replication) (replication.Config, error) {
	resync := replication.ResyncAuto
	if c.Ask {
		resync = replication.ResyncAsk
	}
	out := replication.Config{
		Instance: i, Mode: c.Mode, Clusters: map[failover.ClusterName]replication.ClusterConfig{},
		Tables: c.Tables, Except: c.Except, Visibility: c.Visibility, Busy: c.Busy, Idle: c.Idle, Resync: resync, Parallel: c.Parallel,
		ControlTable: c.ControlTable, DeadTable: c.DeadLettersTable, GlobalTable: c.GlobalTable,
	}
	if e := c.External; e != nil {
		out.External = replication.External{
			URL: e.URL, Command: e.Command, Every: e.Every, Timeout: e.Timeout,
			Forbidden: func(a netip.Addr) error { return healthcheck.Forbidden(a, nil) }, Program: healthcheck.CommandFile,
		}
	}
	for name, cl := range c.Clusters {
		pool, err := certPool(cl.CA)
		if err != nil {
			return out, fmt.Errorf("cluster %s: %w", name, err)
		}
		to := func(instance, key string) ots.Config {
			return ots.Config{Endpoint: cl.Endpoint, Address: cl.Address, Instance: instance, Credentials: ots.KeyFile(key), CA: pool}
		}
		out.Clusters[name] = replication.ClusterConfig{
			Region: cl.Region,
			Source: to(cl.Instance, cl.SourceKeyFile), Target: to(cl.Instance, cl.TargetKeyFile), Control: to(cl.ControlInstance, cl.TargetKeyFile),
		}
	}
	return out, nil
}

// certPool is nil, for the certificates of the machine, where there is no PEM.
func certPool(pem string) (*x509.CertPool, error) {
	if pem == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("the CA of the check holds no certificate")
	}
	return pool, nil
}

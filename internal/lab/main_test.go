package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary play the parts that must be processes.
func TestMain(m *testing.M) {
	switch os.Getenv("LAB_TEST_PART") {
	case "":
		goleak.VerifyTestMain(m)
	case "cluster": // the arguments of pointsman-lab cluster
		os.Exit(playCluster(os.Args))
	case "stubborn":
		// Only a kill ends it: not the end of a terminal, nor that of its reader.
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
		fmt.Println("no thanks")
		sleep()
	case "sleeper":
		signal.Ignore(syscall.SIGHUP) // the kernel sends it to stopped orphans
		fmt.Println("asleep")
		sleep()
	case "brief":
		fmt.Println("one")
		fmt.Print("two, without an end")
		os.Exit(3)
	case "supervisor":
		playSupervisor()
	case "verb": // a pointsman that has little to say
		fmt.Fprintln(os.Stderr, "pointsman: not today")
		fmt.Println(strings.Join(os.Args[1:], " "))
		os.Exit(3)
	case "status":
		fmt.Println(os.Getenv("LAB_TEST_STATUS"))
		os.Exit(0)
	}
}

func sleep() {
	for {
		time.Sleep(time.Hour)
	}
}

func playCluster(args []string) int {
	get := func(flag string) string {
		for i, a := range args {
			if a == flag {
				return args[i+1]
			}
		}
		return ""
	}
	cfg := ClusterConfig{
		Name: get("--name"), Listen: netip.MustParseAddrPort(get("--listen")),
		Manage: netip.MustParseAddrPort(get("--manage")), Token: os.Getenv("POINTSMAN_LAB_TOKEN"),
	}
	if get("--kind") == string(Tablestore) {
		cfg.Tables = &TablesConfig{Data: get("--data"), Instances: []string{get("--instance")}}
		if err := json.Unmarshal([]byte(os.Getenv(KeysVariable)), &cfg.Tables.Keys); err != nil {
			panic(err)
		}
	}
	c, err := NewCluster(cfg)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = c.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// playSupervisor starts a child that is stopped and one that ignores SIGTERM,
// prints their process numbers, and waits to be killed.
func playSupervisor() {
	f := NewFamily(time.Second)
	go func() { _ = f.Run(context.Background()) }()
	for _, part := range []string{"sleeper", "stubborn"} {
		if err := f.Start(context.Background(), partSpec(os.TempDir(), part, part)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	for len(f.Tail("sleeper")) == 0 || len(f.Tail("stubborn")) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	if err := f.Stall("sleeper"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, st := range f.States() {
		fmt.Println(st.PID)
	}
	fmt.Println("ready")
	sleep()
}

// partSpec starts this test binary as a part.
func partSpec(dir, name, part string, args ...string) ChildSpec {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return ChildSpec{Name: name, Path: self, Args: args, Env: []string{"LAB_TEST_PART=" + part}, Dir: dir, Log: dir + "/" + name + ".log"}
}

// eventually waits until the condition holds; the words say for what.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}

// running runs something with a Run method for the length of a test.
func running(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// exists says whether a process is there and is no zombie.
func exists(pid int) bool {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if state, ok := strings.CutPrefix(s.Text(), "State:"); ok {
			return !strings.Contains(state, "Z") && !strings.Contains(state, "X")
		}
	}
	return false
}

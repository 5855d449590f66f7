// Package lab is a whole world on loopback for a first look, for
// demonstrations and for tests: two HTTP clusters that can be made to fail in
// every way that clusters fail, a real pointsman controller, two real
// vantages, a client that resolves and calls, and a recorder that asks the
// authority every two milliseconds and judges every answer.
//
// Every part is a process of its own, so that faults are real: a kill is
// SIGKILL (the kernel refuses the next connection), a stall is SIGSTOP (the
// kernel goes on accepting and nobody answers). Softer faults are knobs of a
// cluster, set over its management API: slow answers, a rate of errors, the
// identity of the other cluster, a closed port, flapping.
//
// The lab imports nothing of the program that it tests. It knows pointsman as
// a user knows it: by its configuration file, its verbs with -o json, and what
// its authority answers on the wire. What the lab says of a failover is
// therefore a second opinion, never the program's own opinion repeated; where
// it quotes the program's own moments (detected, decided, verified) it says so.
//
// Roughly:
//
//	Run        lays out a World, starts its Family, waits until all is ready,
//	           hands a *Lab to its caller and ends every child afterwards
//	Cluster    one back end with its knobs (runs in a child process)
//	Recorder   asks the authority all the time; Judge says which answers broke a promise
//	Client     resolves through the authority and calls what it finds
//	Demo       the stories, one after the other, and their report
//	Control    how the verbs of another terminal reach a running lab
//
// Nothing here is hardened for anything but loopback.
package lab

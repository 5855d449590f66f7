// Package api is how people and programs speak to a running controller: HTTP
// over a Unix socket for the operator's verbs on the same machine, and, where
// the configuration asks for it, over loopback TCP with a bearer token.
//
// It decides nothing. A request is checked for form, turned into the words of
// the core (a [failover.Command], or a plan to make) and handed to whoever
// owns the instance; the answer is the core's own [failover.Reply]. Views are
// snapshots: reading never waits for a decision, and a slow reader of the
// stream of changes is given the newest view, not every one.
//
// Who may do what is kept simple and closed. The socket has mode 0600 and its
// peer must be the user that runs the controller, or root. TCP binds loopback
// addresses only, wants a token of at least [MinToken] bytes on everything
// under /v1/, and refuses foreign Host and Origin headers, so that neither a
// page in a browser nor a rebound name can speak to it. There is no anonymous
// mode. Liveness, readiness, leadership and metrics tell nothing that could
// move a name and are open on loopback. The one guest is the receiver of
// vantage reports at /v1/report, which checks every message by its own key.
// Connections over TCP are bounded, and slow or silent ones keep nobody out:
// when there are too many, the oldest of those that have shown neither a signed
// report nor the token makes room.
//
// Server and client live together, so that neither can drift from the other.
package api

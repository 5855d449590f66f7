// Package notify tells people and their tools what happens: to a folder, by
// e-mail, to chat robots, to a signed webhook, to Alertmanager. When something
// moves and why is decided elsewhere, in internal/failover; nothing here can
// hold that up or fail it.
//
// A message goes into a bounded queue in memory ([Notifier.Notify] returns at
// once), from there durably into the outbox (notify.db), one entry for each
// channel, and only then is it tried. It is delivered at least once and bears
// the same ID each time: a receiver that keeps IDs sees it once. What is
// bounded, when something is given up, and what a receiver gets is in
// docs/delivery.md.
package notify

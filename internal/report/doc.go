// Package report makes the health reports: what a person should know of every
// instance, verdict first, at a time that a calendar gives. When something
// moves and why is decided elsewhere, in internal/failover; nothing here can
// hold that up, and what it cannot find out it says in so many words.
//
// A [Builder] is pure: it is given samples of the history and the facts of each
// instance, and returns a [Report], which is the JSON. Renderers make HTML,
// Markdown and a few lines for a chat of it. A [Service] knows the calendar,
// gathers, keeps and hands over.
package report

// Package alicloud is a part of Alibaba Cloud on loopback: the APIs of Alidns
// (2015-01-09), PrivateZone (2018-01-01) and the two calls of STS (2015-04-01)
// that hand out credentials, wire-compatible enough for unmodified clients of
// several makers, and the zones behind them answered over DNS. It is for
// tests and for a first look; it can fail in all the ways in which such an API
// fails, by count, so that a test that saw a fault sees it again.
//
//	New           starts it; Close ends it
//	AddZone       puts a zone or a record there as its owner would have in the
//	AddRecord     console: without the checks of the API
//	Fail          the next n calls of an action go wrong
//	Requests      what was asked, without secrets
//
// What it imitates and what it does not stands in docs/lab-alicloud.md. It
// shares no code with the program that it is used to test, and nothing here is
// hardened for anything but loopback.
package alicloud

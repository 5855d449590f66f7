// Package doctor judges whether a place is fit for failover before anybody
// trusts it: the config's failure domains, clocks, the DNS of each name, the
// disk of the ledger, rights of files, and how the clients of a host resolve
// and hold on to addresses.
//
// Each check has two halves. A gatherer looks and returns plain facts; a judge
// is a pure function from facts to a [Finding]: an id, a verdict, the evidence
// for it and what to do. Judges are what tests hold to account, one fault at a
// time; gatherers are run against real name servers and files of /proc.
//
// Nothing here changes anything, but for one scratch file that [MeasureSync]
// writes into a folder and removes. Nothing here decides anything about a
// failover either: that is internal/failover's alone.
//
// What it does not promise. It sees what can be seen from one host at one
// moment: of an anycast address one node, of a resolver one cache, of other
// users' processes what the kernel shows. A check that could not be made says
// skipped and why; it never says ok.
package doctor

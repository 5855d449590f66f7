package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pointsman/dnsctl/authority"
	"pointsman/internal/api"
	"pointsman/internal/controller"
	"pointsman/internal/failover"
)

// scrape reads the rooms when Prometheus asks.
type scrape struct {
	p     *process
	descs map[string]*prometheus.Desc
}

// described lists every metric that is read at scrape time, with its labels.
var described = []struct {
	name, help string
	labels     []string
}{
	{"pointsman_leading", "1 while this process may decide for the instance.", []string{"instance"}},
	{"pointsman_lapsed", "1 while the instance gave up the lead that the process has.", []string{"instance"}},
	{"pointsman_commit_open_seconds", "How long the ledger has been working on the commit in hand; 0 without one.", []string{"instance"}},
	{"pointsman_instances", "Instances, by phase.", []string{"phase"}},
	{"pointsman_instances_leading", "Instances for which this process may decide.", nil},
	{"pointsman_instances_mode", "Instances, by mode.", []string{"mode"}},
	{"pointsman_instances_verdict", "Instances, by what the quorum says of the cluster in a role.", []string{"role", "verdict"}},
	{"pointsman_instances_stopped", "Instances on which the stop stands.", []string{"kind"}},
	{"pointsman_instances_held", "Instances whose operation waits for a proof, an override or abort.", nil},
	{"pointsman_instances_need_look", "Instances that are not idle and well, by why.", []string{"why"}},
	{"pointsman_instances_without_series", "Instances without time series of their own, because there are more than controller.metrics_instances.", nil},
	{"pointsman_poisoned", "1 when the ledger cannot be written any more.", nil},
	{"pointsman_degraded", "1 when a part is missing and only DNS goes on, until a restart.", nil},
	{"pointsman_config_reloads_total", "Tries to take the configuration anew.", []string{"result"}},
	{"pointsman_config_last_reload_success", "0 while the newest file is refused and the old configuration goes on.", nil},
	{"pointsman_config_info", "1 for the configuration that runs, by the beginning of the SHA-256 of its file.", []string{"hash"}},
	{"pointsman_config_loaded_timestamp_seconds", "When the configuration that runs was taken.", nil},
	{"pointsman_api_refused_total", "Requests to the API over TCP that were turned away.", []string{"reason"}},
	{"pointsman_active", "1 for the cluster that the record says the name points at.", []string{"instance", "cluster"}},
	{"pointsman_verdict", "1 for what the quorum says of the cluster.", []string{"instance", "cluster", "verdict"}},
	{"pointsman_vote", "What the vantage says of the cluster: 1 up, 0 unknown, -1 down.", []string{"instance", "cluster", "vantage"}},
	{"pointsman_auth_fault", "1 while keys are refused at both clusters and neither has been up for ride_out since: the provider's access-key service, or a key that is used at both.", []string{"instance"}},
	{"pointsman_blind", "1 for the class of fault for which a quorum of domains cannot look at the cluster; absent otherwise.", []string{"instance", "cluster", "fault"}},
	{"pointsman_canary_ok", "1 when the vantage's newest write to the cluster was read back, 0 when not; absent without such checks.", []string{"instance", "cluster", "vantage"}},
	{"pointsman_client_write", "What became of the vantage's newest write with the clients' rights: 1 accepted, -1 refused by the cluster's policy, 0 neither; absent without such checks.", []string{"instance", "cluster", "vantage"}},
	{"pointsman_certificate_days", "Days until the certificate ends that the newest success of the vantage showed; below 0 when it has ended. Missing without TLS.", []string{"instance", "cluster", "vantage"}},
	{"pointsman_report_age_seconds", "Age of the newest report of the vantage; absent before the first.", []string{"instance", "vantage"}},
	{"pointsman_mode", "1 for the mode that the instance is in.", []string{"instance", "mode"}},
	{"pointsman_epoch", "Epoch of the instance.", []string{"instance"}},
	{"pointsman_term", "Term of the instance.", []string{"instance"}},
	{"pointsman_operation_in_flight", "1 while an operation of the kind is open.", []string{"instance", "kind"}},
	{"pointsman_operation_held", "1 while the operation waits for a proof, an override or abort.", []string{"instance"}},
	{"pointsman_stop", "1 while the stop stands.", []string{"instance", "kind"}},
	{"pointsman_stop_until_timestamp_seconds", "When the stop ends by itself; absent when it does not stand or waits for a person.", []string{"instance", "kind"}},
	{"pointsman_exposure_known", "1 while it is known what a switch of the instance would lose; absent where nothing is replicated.", []string{"instance"}},
	{"pointsman_exposure_seconds", "A switch now would lose at most the writes of so long; absent while that is not known.", []string{"instance"}},
	{"pointsman_exposure_rows", "About so many rows would be lost by a switch now; absent while that is not known.", []string{"instance"}},
	{"pointsman_table_exposure_seconds", "The same as pointsman_exposure_seconds, of one table.", []string{"instance", "table"}},
	{"pointsman_standby_protected", "1 while the standby follows and could take over; absent where nothing is replicated.", []string{"instance"}},
	{"pointsman_replication_running", "1 while this process may carry rows of the instance.", []string{"instance"}},
	{"pointsman_replication_paused", "1 while a person has paused it.", []string{"instance"}},
	{"pointsman_replication_gap", "1 while part of a stream was not read and is gone: what a switch would lose is unknown until the table is copied anew.", []string{"instance"}},
	{"pointsman_replication_refused_rows", "Rows that the target refuses and that nobody has dealt with.", []string{"instance"}},
	{"pointsman_replication_lost_rows", "Writes that the last operation left behind on the old side, as far as they were counted; absent when it left none.", []string{"instance"}},
	{"pointsman_replication_units_total", "Capacity units that the clusters say they took for replication.", []string{"instance", "side", "kind"}},
	{"pointsman_replication_tables", "Tables that are replicated. At most 128 of them have time series of their own.", []string{"instance"}},
	{"pointsman_replication_phase", "1 for the phase that the table is in.", []string{"instance", "table", "phase"}},
	{"pointsman_replication_applied_rows_total", "Rows of the stream that the target has acknowledged.", []string{"instance", "table"}},
	{"pointsman_replication_copied_rows", "Rows of the full copy that are at the target; absent without a copy.", []string{"instance", "table"}},
	{"pointsman_replication_copied_bytes", "Bytes of the full copy that are at the target; absent without a copy.", []string{"instance", "table"}},
	{"pointsman_replication_copy_rows", "Rows that the full copy will have, an estimate; absent while there is none.", []string{"instance", "table"}},
	{"pointsman_replication_copy_left_seconds", "How long the full copy will take from now, an estimate; absent while there is none.", []string{"instance", "table"}},
	{"pointsman_guard_refusing", "1 while the guard refuses a failover that a rule wants; absent otherwise.", []string{"instance", "guard"}},
	{"pointsman_probes_total", "Finished probes of the own vantage, controls included.", []string{"outcome"}},
	{"pointsman_probes_late_total", "Probes that came too late to count.", nil},
	{"pointsman_held_connections", "Connections that our own vantage holds open beside its probes.", nil},
	{"pointsman_held_resting", "Clusters whose held-open connection rests, because it is of no use there.", nil},
	{"pointsman_held_lost_total", "Held-open connections that gave rise to a nudge.", []string{"reason"}},
	{"pointsman_held_set_aside_total", "Misses that did not count, since they came only while a connection was held.", nil},
	{"pointsman_front_looks_total", "Cheap looks of our own vantage at the front ends of Tablestore clusters, by what they met. They never vote.", []string{"outcome"}},
	{"pointsman_canary_capacity_units_total", "Capacity units that Tablestores say they took for the probes of our own vantage.", []string{"kind"}},
	{"pointsman_front_resting", "Clusters whose cheap looks rest, because probes said otherwise again and again.", nil},
	{"pointsman_nudges_total", "Nudges, which start probes at once and never vote, by what became of them; passed is a near miss.", []string{"end"}},
	{"pointsman_reports_total", "Reports of vantages elsewhere that were delivered.", nil},
	{"pointsman_reports_refused_total", "Reports of vantages elsewhere that were refused.", []string{"reason"}},
	{"pointsman_vantage_clock_offset_seconds", "How far the clock of the vantage elsewhere is ahead of ours, below 0: behind; nothing is decided by it. Absent while it is not known.", []string{"vantage"}},
	{"pointsman_vantage_clock_within_seconds", "The clock of the vantage elsewhere is at most so far from its offset. Absent while that is not known.", []string{"vantage"}},
	{"pointsman_vantage_config_refused", "1 while the vantage elsewhere says that the newest file of its configuration is refused; absent before its first report.", []string{"vantage"}},
	{"pointsman_health_report_runs_total", "Health reports by name: made (kept, and handed over where that is wanted) or failed.", []string{"report", "outcome"}},
	{"pointsman_health_report_last_made_timestamp_seconds", "When the health report was last made by this process; absent before.", []string{"report"}},
	{"pointsman_hook_runs_total", "Runs of hooks, by when and by what they said.", []string{"when", "verdict"}},
	{"pointsman_hook_seconds_total", "How long hooks took, in sum.", []string{"when"}},
	{"pointsman_commits_total", "Records committed to the ledger.", nil},
	{"pointsman_commit_conflicts_total", "Commits that found another revision.", nil},
	{"pointsman_audit_entries", "Entries in the audit.", nil},
	{"pointsman_history_dropped_total", "Samples of the measured history that were dropped.", nil},
	{"pointsman_tilts_total", "Stalls of the process and jumps of its clock.", nil},
	{"pointsman_turns_total", "Turns that instances were given to decide.", nil},
	{"pointsman_turn_wait_seconds_total", "How long instances waited for their turns, in sum: beside pointsman_turns_total it says how late decisions are.", nil},
	{"pointsman_instances_ready", "Instances that wait for a turn at this moment.", nil},
	{"pointsman_faults_total", "Faults of this program that cost an instance its memory.", nil},
	{"pointsman_dropped_total", "Things dropped so that nothing waits for them.", []string{"what"}},
	{"pointsman_dns_answers_total", "Answers of the embedded authority.", []string{"transport", "rcode"}},
	{"pointsman_dns_dropped_total", "Queries that got no answer.", []string{"reason"}},
	{"pointsman_dns_truncated_total", "Answers with TC.", nil},
	{"pointsman_dns_panics_total", "Queries that were answered SERVFAIL after a panic.", nil},
	{"pointsman_dns_tcp_connections", "Open TCP connections of the embedded authority.", nil},
	{"pointsman_dns_unpublished_names", "Managed names that answer SERVFAIL because no record came yet.", nil},
	{"pointsman_dns_rate_limited_total", "Answers over UDP above the rate of their class, and what was sent instead.", []string{"class", "sent"}},
	{"pointsman_dns_denied_total", "Answers NXDOMAIN, those too that the rate withheld.", []string{"zone"}},
	{"pointsman_dns_rate_evicted_total", "Rate buckets in use that gave way to others: the table is full.", nil},
	{"pointsman_dns_cookies_total", "Queries with a DNS cookie.", []string{"cookie"}},
	{"pointsman_dns_left_over_names", "Names that the config dropped and did not retire: they answer their last commit.", nil},
	{"pointsman_dns_refused_total", "Transfers, signatures, NOTIFY and UPDATE that were turned away, and transfers that were broken off.", []string{"reason"}},
	{"pointsman_dns_transfers_total", "Answered requests for transfers.", []string{"kind"}},
	{"pointsman_dns_transfers", "Transfers at this moment.", nil},
	{"pointsman_authority_notifies_total", "NOTIFY sent to secondaries.", nil},
	{"pointsman_authority_notifies_unacked_total", "NOTIFY that got no acknowledgement.", nil},
	{"pointsman_authority_secondaries", "Secondaries: well, or such that a person should look.", []string{"state"}},
	{"pointsman_authority_secondaries_without_series", "Secondaries without time series of their own, because there are more than 128.", nil},
	{"pointsman_authority_secondary_serial", "Serial that the secondary answered with last; absent before its first answer.", []string{"zone", "secondary"}},
	{"pointsman_authority_secondary_acked", "1 while the secondary has acknowledged our serial.", []string{"zone", "secondary"}},
	{"pointsman_authority_secondary_lag_seconds", "How long our serial has been one that the secondary does not serve; 0 while it does.", []string{"zone", "secondary"}},
	{"pointsman_zone_serial", "Serial of the zone.", []string{"zone"}},
}

func newScrape(p *process) *scrape {
	s := &scrape{p: p, descs: make(map[string]*prometheus.Desc)}
	for _, d := range described {
		s.descs[d.name] = prometheus.NewDesc(d.name, d.help, d.labels, nil)
	}
	return s
}

// Describe lists the metrics (prometheus.Collector).
func (s *scrape) Describe(out chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		out <- d
	}
}

// Collect reads every room once (prometheus.Collector).
func (s *scrape) Collect(out chan<- prometheus.Metric) {
	r := reading{s.descs, out}
	r.instances(s.p)
	r.rooms(s.p)
	if s.p.authority != nil {
		r.authority(s.p)
	}
}

// reading is one scrape.
type reading struct {
	descs map[string]*prometheus.Desc
	out   chan<- prometheus.Metric
}

func (r reading) gauge(name string, value float64, labels ...string) {
	r.out <- prometheus.MustNewConstMetric(r.descs["pointsman_"+name], prometheus.GaugeValue, value, labels...)
}

func (r reading) count(name string, value uint64, labels ...string) {
	r.out <- prometheus.MustNewConstMetric(r.descs["pointsman_"+name], prometheus.CounterValue, float64(value), labels...)
}

func (r reading) seconds(name string, sum time.Duration, labels ...string) {
	r.out <- prometheus.MustNewConstMetric(r.descs["pointsman_"+name], prometheus.CounterValue, sum.Seconds(), labels...)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func signOf(v failover.Vote) float64 {
	switch v {
	case failover.Up:
		return 1
	case failover.Down:
		return -1
	default:
		return 0
	}
}

// instances shows every instance while they are few. Of many it shows those
// that need a look, so that the number of series has a bound.
func (r reading) instances(p *process) {
	names := p.ctl.Instances()
	most := p.metricsInstances()
	sum, shown := api.NewSummary(time.Now()), 0
	for _, i := range names {
		s, ok := p.ctl.Snapshot(i)
		if !ok {
			continue
		}
		v := p.sketch(&s)
		if word := sum.Add(&v); shown < most && (word != "" || len(names) <= most) {
			shown++
			r.instance(p.look(&s))
			r.holds(&s)
			r.replication(p.replicas, i)
		}
	}
	for _, x := range []failover.Phase{failover.PhaseAdopting, failover.PhaseIdle, failover.PhaseOp} {
		r.gauge("instances", float64(sum.Phases[x]), string(x))
	}
	for _, x := range allModes {
		r.gauge("instances_mode", float64(sum.Modes[x]), x)
	}
	for _, role := range []string{"active", "standby", "unknown"} {
		for _, x := range allVotes {
			r.gauge("instances_verdict", float64(sum.Verdicts[role][x.String()]), role, x.String())
		}
	}
	for _, x := range allStops {
		r.gauge("instances_stopped", float64(sum.Stops[x]), string(x))
	}
	for word, n := range sum.Looks {
		r.gauge("instances_need_look", float64(n), word)
	}
	r.gauge("instances_leading", float64(sum.Leading))
	r.gauge("instances_held", float64(sum.Held))
	r.gauge("instances_without_series", float64(sum.Instances-shown))
}

func (r reading) instance(v failover.View) {
	name := string(v.Instance)
	r.gauge("leading", one(v.Leading), name)
	r.gauge("epoch", float64(v.Token.Epoch), name)
	r.gauge("term", float64(v.Token.Term), name)
	for _, m := range allModes {
		r.gauge("mode", one(m == v.Mode), name, m)
	}
	for _, k := range []failover.OpKind{failover.Failover, failover.Switchover} {
		r.gauge("operation_in_flight", one(v.Op != nil && v.Op.Kind == k), name, string(k))
	}
	r.gauge("auth_fault", one(!v.AuthFault.IsZero()), name)
	r.gauge("operation_held", one(v.Op != nil && v.Op.Held != nil), name)
	standing := make(map[failover.StopKind]bool)
	for _, s := range v.Stops {
		standing[s.Kind] = true
		if !s.Until.IsZero() && s.Kind != failover.StopDrift { // drift stands once for each name
			r.gauge("stop_until_timestamp_seconds", float64(s.Until.UnixMilli())/1000, name, string(s.Kind))
		}
	}
	for _, k := range allStops {
		r.gauge("stop", one(standing[k]), name, string(k))
	}
	for _, x := range v.Refused {
		r.gauge("guard_refusing", 1, name, string(x.Guard))
	}
	ages := make(map[failover.VantageName]float64)
	for _, c := range v.Clusters {
		r.gauge("active", one(c.Name == v.Active), name, string(c.Name))
		for _, w := range allVotes {
			r.gauge("verdict", one(c.Verdict == w), name, string(c.Name), w.String())
		}
		if c.Fault != failover.FaultNone {
			r.gauge("blind", 1, name, string(c.Name), string(c.Fault))
		}
		for _, x := range c.Votes {
			r.gauge("vote", signOf(x.Vote), name, string(c.Name), string(x.Vantage))
			if x.Canary != failover.CanaryNone {
				r.gauge("canary_ok", one(x.Canary == failover.CanaryOK), name, string(c.Name), string(x.Vantage))
			}
			if x.Client != failover.ClientNone {
				r.gauge("client_write", one(x.Client == failover.ClientAccepted)-one(x.Client == failover.ClientRefused), name, string(c.Name), string(x.Vantage))
			}
			if !x.CertificateEnds.IsZero() {
				r.gauge("certificate_days", time.Until(x.CertificateEnds).Hours()/24, name, string(c.Name), string(x.Vantage))
			}
			if x.AgeMS >= 0 {
				ages[x.Vantage] = float64(x.AgeMS) / 1000
			}
		}
	}
	for vantage, sec := range ages {
		r.gauge("report_age_seconds", sec, name, string(vantage))
	}
}

// holds is what keeps the instance from deciding.
func (r reading) holds(s *controller.Snapshot) {
	name := string(s.Instance)
	r.gauge("lapsed", one(s.Lapse != ""), name)
	open := 0.0
	if !s.Writing.IsZero() {
		open = time.Since(s.Writing).Seconds()
	}
	r.gauge("commit_open_seconds", open, name)
}

func (r reading) rooms(p *process) {
	r.gauge("poisoned", one(p.store.Poisoned() != nil))
	st := p.store.Stats()
	r.count("commits_total", st.Commits)
	r.count("commit_conflicts_total", st.Conflicts)
	r.gauge("audit_entries", float64(st.Audit))
	r.gauge("degraded", one(p.trouble.err() != nil))
	if p.reloads != nil {
		r.config(p.reloads)
	}
	if p.api != nil {
		for why, n := range p.api.Refused() {
			r.count("api_refused_total", n, why)
		}
	}
	if p.past != nil {
		r.count("history_dropped_total", p.past.Stats().Dropped)
	}
	if p.prober != nil {
		pr := p.prober.Stats()
		r.count("probes_total", pr.Successes, "success")
		r.count("probes_total", pr.Misses, "miss")
		r.count("probes_total", pr.OwnFaults, "own-fault")
		r.count("probes_late_total", pr.Late)
		r.held(pr)
	}
	if p.reports != nil {
		for name, n := range p.reports.Runs() {
			r.count("health_report_runs_total", n.Made, name, "made")
			r.count("health_report_runs_total", n.Failed, name, "failed")
			if !n.Last.IsZero() {
				r.gauge("health_report_last_made_timestamp_seconds", float64(n.Last.UnixMilli())/1000, name)
			}
		}
	}
	if p.hooks != nil {
		hs := p.hooks.Stats()
		for when, by := range hs.Runs {
			for verdict, n := range by {
				r.count("hook_runs_total", n, string(when), string(verdict))
			}
		}
		for when, took := range hs.Took {
			r.seconds("hook_seconds_total", took, string(when))
		}
	}
	if p.receiver != nil {
		rs := p.receiver.Stats()
		r.count("reports_total", rs.Accepted)
		for why, n := range rs.Refused {
			r.count("reports_refused_total", n, string(why))
		}
		for _, c := range p.vantageClocks() {
			if c.Unknown == "" {
				r.gauge("vantage_clock_offset_seconds", time.Duration(c.OffsetNS).Seconds(), string(c.Vantage))
				r.gauge("vantage_clock_within_seconds", time.Duration(c.WithinNS).Seconds(), string(c.Vantage))
			}
		}
		for v, c := range p.receiver.Configs() {
			if !c.Heard.IsZero() {
				r.gauge("vantage_config_refused", one(!c.Refused.IsZero()), string(v))
			}
		}
	}
	cs := p.ctl.Stats()
	r.count("tilts_total", cs.Tilts)
	r.count("faults_total", cs.Faults)
	r.count("turns_total", cs.Turns)
	r.seconds("turn_wait_seconds_total", cs.TurnWait)
	r.gauge("instances_ready", float64(cs.Ready))
	for what, n := range map[string]uint64{
		"report": cs.ReportsDropped, "strange-report": cs.ReportsStrange, "late-answer": cs.LateAnswers,
		"subscriber": cs.SubscribersDropped, "log": cs.LogDropped, "page": cs.PagesDropped, "history": cs.HistoryDropped,
	} {
		r.count("dropped_total", n, what)
	}
}

func (r reading) config(re *reloader) {
	st := re.Config()
	for result, n := range re.counted() {
		r.count("config_reloads_total", n, string(result))
	}
	r.gauge("config_last_reload_success", one(st.OK))
	r.gauge("config_info", 1, shortHash(st.Hash))
	r.gauge("config_loaded_timestamp_seconds", float64(st.LoadedAt.UnixMilli())/1000)
}

func (r reading) authority(p *process) {
	as := p.authority.Stats()
	for transport, byCode := range as.Answers {
		for code, n := range byCode {
			r.count("dns_answers_total", n, transport, code)
		}
	}
	for why, n := range as.Dropped {
		r.count("dns_dropped_total", n, why)
	}
	r.count("dns_truncated_total", as.Truncated)
	for why, n := range as.Refused {
		r.count("dns_refused_total", n, why)
	}
	for kind, n := range as.Transfers {
		r.count("dns_transfers_total", n, kind)
	}
	r.gauge("dns_transfers", float64(as.Transfering))
	r.count("authority_notifies_total", as.Notifies)
	r.count("authority_notifies_unacked_total", as.Unacked)
	r.secondaries(as.Secondaries)
	r.count("dns_panics_total", as.Panics)
	r.gauge("dns_tcp_connections", float64(as.TCPConns))
	r.gauge("dns_unpublished_names", float64(len(as.Unpublished)))
	for class, bySent := range as.Limited {
		for sent, n := range bySent {
			r.count("dns_rate_limited_total", n, class, sent)
		}
	}
	for zone, n := range as.Denied {
		r.count("dns_denied_total", n, zone)
	}
	r.count("dns_rate_evicted_total", as.Evicted)
	for cookie, n := range as.Cookies {
		r.count("dns_cookies_total", n, cookie)
	}
	r.gauge("dns_left_over_names", float64(len(as.LeftOver)))
	for zone, n := range as.Serials {
		r.gauge("zone_serial", float64(n), zone)
	}
}

// secondarySeries is how many secondaries have time series of their own. Where
// there are more, only those that need a look have.
const secondarySeries = 128

func (r reading) secondaries(all []authority.SecondaryStats) {
	well, shown := 0, 0
	for _, s := range all {
		ok := s.Well(lagging)
		if ok {
			well++
		}
		if shown == secondarySeries || ok && len(all) > secondarySeries {
			continue
		}
		shown++
		if !s.ServesAt.IsZero() {
			r.gauge("authority_secondary_serial", float64(s.Serves), s.Zone, s.Address.String())
		}
		r.gauge("authority_secondary_acked", one(s.Serial != 0 && s.Acked == s.Serial), s.Zone, s.Address.String())
		r.gauge("authority_secondary_lag_seconds", s.Behind.Seconds(), s.Zone, s.Address.String())
	}
	r.gauge("authority_secondaries", float64(well), "well")
	r.gauge("authority_secondaries", float64(len(all)-well), "look")
	r.gauge("authority_secondaries_without_series", float64(len(all)-shown))
}

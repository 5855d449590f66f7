package config

import (
	"regexp"
	"strconv"
	"strings"

	"pointsman/healthcheck"
	"pointsman/internal/failover"
	"pointsman/internal/notify"
	"pointsman/internal/report"
	"pointsman/replication"
)

// What a schema can say of a value beyond its type. It must never refuse what
// the loader takes: an editor that marks good lines is switched off.

const (
	wordPattern     = `^[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$`
	hostPortPattern = `:0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$`
	schedulePattern = `^\s*(@[a-z]+|@every\s+\S+|[^@=\s][^=\s]*(\s+[^=\s]+){4})\s*$`
	zonePattern     = `^[A-Za-z][A-Za-z0-9_+/-]*$`
	urlPattern      = `^[hH][tT][tT][pP][sS]?://[^/]`
	instantPattern  = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.,]+(Z|[+-][0-9]{2}:[0-9]{2})$`
	addressPattern  = `^[0-9A-Fa-f:.]+$`
	timePattern     = `^([01]?[0-9]|2[0-3]):[0-5][0-9]$`
	cronPattern     = `^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[^@= ][^= ]*( +[^= ]+){4})$`
	calendarPattern = `^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|@every .+|\s*[^@=\s][^=\s]*(\s+[^=\s]+){4}\s*)$`
	networkPattern  = `^[0-9A-Fa-f:.]+/[0-9]{1,3}$`
	ownTablePattern = `^pointsman_[A-Za-z0-9_]+$`
	namePattern     = `^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)+\.?$`
)

var languages = enum(notify.English, notify.Chinese)

var algorithms = enum("hmac-sha256", "hmac-sha384", "hmac-sha512")

func enum[T ~string](words ...T) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = string(w)
	}
	return out
}

// choices are the keys that take one of a few words. Those of an instance's
// figures come from the table of knobs.
var choices = map[string][]any{
	"version":                             {1},
	"single_vantage":                      enum(acceptSingle),
	"authority.rate_limit.loopback":       enum("exempt", "limited"),
	"authority.cookies.demand":            enum("never", "limited"),
	"authority.keys.NAME.algorithm":       algorithms,
	"providers.NAME.key.algorithm":        algorithms,
	"providers.NAME.type":                 enum(providerTypes...),
	"reports[].formats[]":                 enum(report.Formats...),
	"notify.language":                     languages,
	"notify.channels[].language":          languages,
	"notify.channels[].type":              enum(notify.Types...),
	"notify.channels[].tls":               enum(notify.StartTLS, notify.Implicit, notify.NoTLS),
	"notify.routes[].kinds[]":             enum(notify.Kinds()...),
	"controller.principals[].role":        enum(roles...),
	"instances[].preset":                  enum(failover.Presets...),
	"instances[].check.type":              enum(healthcheck.TCP, healthcheck.TLS, healthcheck.HTTP, healthcheck.HTTPS, healthcheck.GRPC, healthcheck.GRPCS, healthcheck.DNS, healthcheck.ICMP, healthcheck.Exec, healthcheck.Tablestore),
	"instances[].check.method":            enum("GET", "HEAD", "OPTIONS"),
	"instances[].check.dns.transport":     enum("udp", "tcp"),
	"instances[].check.tablestore.scheme": enum(healthcheck.SchemeHTTPS, healthcheck.SchemeHTTP),
	"instances[].replication.mode":        enum(replication.ModeStream, replication.ModeGlobalTable, replication.ModeExternal),
	"instances[].replication.scheme":      enum(healthcheck.SchemeHTTPS, healthcheck.SchemeHTTP),
	"instances[].replication.resync":      enum(resyncAuto, resyncAsk),
	"hooks.pre[].on[]":                    enum(failover.Failover, failover.Switchover),
	"hooks.pre[].on_error":                enum(onErrorVeto, onErrorPass),
}

// patterns are how texts look.
var patterns = map[string]string{
	"controller.name": wordPattern, "vantage.name": wordPattern, "vantage.domain": wordPattern, "vantages[].name": wordPattern,
	"vantages[].domain": wordPattern, "instances[].name": wordPattern, "instances[].primary": wordPattern, vantagePart + "name": wordPattern,

	"controller.listen": hostPortPattern, "providers.NAME.server": hostPortPattern, "authority.listen[]": hostPortPattern,
	"providers.NAME.authorities[]": hostPortPattern, "providers.NAME.resolvers[]": hostPortPattern, "notify.channels[].server": hostPortPattern,
	"notify.channels[].name": wordPattern, "notify.routes[].steps[].channel": wordPattern,
	"vantage.controls[]": hostPortPattern, "vantages[].controls[]": hostPortPattern, "controls[]": hostPortPattern,

	"controller.advertise": urlPattern, "controllers[]": urlPattern,

	"vantage.allow[]": networkPattern, "vantages[].allow[]": networkPattern, "allow[]": networkPattern, "authority.rate_limit.exempt[]": networkPattern,

	"authority.zones[].hosts.NAME[]": addressPattern,

	"instances[].names[].name": namePattern, "instances[].names[].aliases[]": namePattern, "instances[].client_name": namePattern,

	"instances[].check.path":                        `^/`,
	"instances[].check.status[]":                    `^[1-5]([xX]{2}|[0-9]{2}(-[1-5][0-9]{2})?)$`,
	"authority.zones[].transfer.addresses[]":        `^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$`,
	"instances[].rpo":                               `^(none|zero|[0-9.].*)$`,
	"instances[].replication.clusters.NAME.address": hostPortPattern,
	"instances[].replication.control.table":         ownTablePattern,
	"instances[].replication.control.dead_letters":  ownTablePattern,
	"instances[].replication.external.url":          urlPattern,
	"reports[].name":                                wordPattern,
	"reports[].schedule":                            schedulePattern,
	"reports[].timezone":                            zonePattern, "notify.zone": zonePattern, "freeze[].zone": zonePattern,
	"instances[].clusters.NAME.maintenance[].zone":   zonePattern,
	"notify.channels[].url":                          urlPattern,
	"notify.channels[].allow[]":                      networkPattern,
	"notify.heartbeat.allow[]":                       networkPattern,
	"notify.channels[].to[]":                         `@`,
	"notify.channels[].from":                         `@`,
	"notify.channels[].mobiles[]":                    mobile.String(),
	"notify.runbook":                                 urlPattern,
	"controller.principals[].name":                   wordPattern,
	"hooks.pre[].name":                               wordPattern,
	"hooks.pre[].url":                                urlPattern,
	"freeze[].from":                                  instantPattern,
	"freeze[].to":                                    instantPattern,
	"freeze[].at":                                    timePattern,
	"freeze[].days[]":                                anyCase(weekdays),
	"freeze[].cron":                                  cronPattern,
	"instances[].clusters.NAME.maintenance[].from":   instantPattern,
	"instances[].clusters.NAME.maintenance[].to":     instantPattern,
	"instances[].clusters.NAME.maintenance[].at":     timePattern,
	"instances[].clusters.NAME.maintenance[].days[]": anyCase(weekdays),
	"reports[].window":                               `^(previous (day|week|month)|[0-9+.].*)$`,
}

// ranges are those of numbers outside the table of knobs.
var ranges = map[string][2]float64{
	"providers.NAME.requests_per_second":            {1, 60},
	"controller.metrics_instances":                  {0, mostMetricsInstances},
	"authority.rate_limit.responses_per_second":     {0, 1_000_000},
	"authority.rate_limit.all_responses_per_second": {0, 1_000_000},
	"authority.rate_limit.slip":                     {0, 100},
	"authority.transfers_per_minute":                {1, 6000},
	"instances[].check.port":                        {1, 65535},
	"instances[].check.status[]":                    {100, 599},
	"instances[].budget[].moves":                    {1, 1000},
	"instances[].replication.copy.parallel":         {1, 64},
	"reports[].keep":                                {1, report.MostKeep},
	"notify.channels[].keep":                        {1, 100_000},
	"notify.channels[].per_minute":                  {1, 6000},
	"vantage.watch_targets":                         {1, 100_000},
	"vantages[].watch_targets":                      {1, 100_000},
	"watch_targets":                                 {1, 100_000},
}

// counts are how many items a list or a mapping has; 0 is no bound.
var counts = map[string][2]int{
	"notify.channels": {1, maxChannels}, "notify.routes": {0, maxRoutes}, "notify.routes[].steps": {1, maxNamed},
	"instances": {1, 0}, "instances[].names[].aliases": {0, maxAliases}, "instances[].names": {1, 0}, "instances[].clusters": {2, 2}, "instances[].checks": {1, 8},
	"authority.listen": {1, 0}, "authority.zones": {1, 0}, "controllers": {1, 0},
	"instances[].check.exec.command": {1, 0}, "instances[].check.identity": {1, 1},
	"resolvers": {0, mostResolvers}, "reports": {0, maxReports}, "reports[].instances": {0, maxGlobs}, "reports[].channels": {0, maxReportChannels},
	"notify.channels[].to": {0, maxNamed}, "notify.channels[].mobiles": {0, maxNamed},
	"instances[].replication.tables": {0, maxTableGlobs}, "instances[].replication.except": {0, maxTableGlobs}, "instances[].replication.external.command": {1, 0},
	"instances[].clusters.NAME.maintenance": {0, maxWindows}, "freeze": {0, maxFreezes}, "hooks.pre": {0, failover.MaxHooks}, "controller.principals": {0, maxPrincipals}, "authority.rate_limit.exempt": {0, 64},
}

// needing are keys of which one has no use without another.
var needing = map[string]map[string][]string{
	"controller": {"listen": {"token_file"}, "advertise": {"listen"}},
}

// either are mappings that have one of two forms.
var either = map[string][]*node{
	"instances[].clusters.NAME.maintenance[]": {{Required: []string{"from", "to"}}, {Required: []string{"days", "at", "for"}}},
	"instances[].replication.external":        {{Required: []string{"url"}}, {Required: []string{"command"}}},
	"hooks.pre[]":                             {{Required: []string{"command"}}, {Required: []string{"url", "secret_file"}}},
	"freeze[]":                                {{Required: []string{"from", "to"}}, {Required: []string{"days", "at", "for"}}, {Required: []string{"cron", "for"}}, {Required: []string{"ics_file"}}},
}

// bend puts the rules of a key on its schema.
func bend(part, path string, n *node) {
	path = strings.Replace(path, "instances[].checks[].", "instances[].check.", 1)
	path = strings.Replace(path, "instances[].freeze", "freeze", 1)
	path = strings.Replace(path, "instances[].hooks.", "hooks.", 1)
	path = strings.Replace(path, "hooks.post", "hooks.pre", 1)
	path = strings.Replace(path, "notify.channels[].quiet", "instances[].clusters.NAME.maintenance", 1)
	if words := choices[path]; words != nil {
		n.Enum, n.MinLength = words, 0
	}
	p, ok := patterns[part+path]
	if !ok {
		p, ok = patterns[path]
	}
	if ok {
		n.Pattern, n.MinLength = p, 0
	}
	switch path {
	case "notify.channels[]":
		n.AllOf = channelConditions()
	case "providers.NAME":
		n.AllOf = providerConditions()
	case "reports[].formats", "reports[].channels":
		n.Unique = true
	case "notify.channels[].labels":
		n.Names = &node{Pattern: label.String()}
	}
	if path == "instances[].clusters" || path == "instances[].replication.clusters" || path == "providers" {
		n.Names = &node{Pattern: wordPattern}
	}
	n.Together = needing[path]
	if forms := either[path]; forms != nil {
		n.OneOf = forms
	}
	if r, ok := ranges[path]; ok {
		n.Minimum, n.Maximum = &r[0], &r[1]
	}
	if c, ok := counts[path]; ok {
		if n.Type == "array" {
			n.MinItems, n.MaxItems = c[0], c[1]
		} else {
			n.MinKeys, n.MaxKeys = c[0], c[1]
		}
	}
	if key, ok := strings.CutPrefix(path, "instances[]."); ok {
		bendKnob(KnobOf(key), n)
	}
}

// anyCase is a pattern for words that may be written in capitals.
func anyCase(words []string) string {
	var b strings.Builder
	for _, w := range words {
		b.WriteByte('|')
		for _, r := range w {
			b.WriteString("[" + string(r) + strings.ToUpper(string(r)) + "]")
		}
	}
	return "^(" + b.String()[1:] + ")$"
}

var (
	inQuotes = regexp.MustCompile("`([^`]+)`")
	fromTo   = regexp.MustCompile(`^([0-9]+) to ([0-9]+)`)
)

// bendKnob reads the range of a knob: its words, or its numbers.
func bendKnob(k Knob, n *node) {
	switch {
	case k.Type == "word" && n.Enum == nil:
		for _, m := range inQuotes.FindAllStringSubmatch(k.Range, -1) {
			n.Enum, n.MinLength = append(n.Enum, m[1]), 0
		}
	case k.Key == "ratio":
		zero, one := 0.0, 1.0
		n.Above, n.Maximum = &zero, &one
	case k.Type == "number":
		if m := fromTo.FindStringSubmatch(k.Range); m != nil {
			least, _ := strconv.ParseFloat(m[1], 64) // digits
			most, _ := strconv.ParseFloat(m[2], 64)
			n.Minimum, n.Maximum = &least, &most
		}
	}
}

package config

import "time"

// The structs of this file are the schema: every key is a tag here and
// nowhere else, and docs/config.md lists the same keys (a test compares). A
// key that must be given says required, or which other key may stand in its
// place; everything else has a default.

// fileDoc is pointsman.yaml.
type fileDoc struct {
	pos
	Version       val[int]          `yaml:"version"`
	Controller    controllerDoc     `yaml:"controller,required"`
	SingleVantage val[string]       `yaml:"single_vantage"`
	Vantage       ownVantageDoc     `yaml:"vantage,required"`
	Vantages      []vantageDoc      `yaml:"vantages"`
	Authority     *authorityDoc     `yaml:"authority"`
	Providers     dict[providerDoc] `yaml:"providers"`
	Resolvers     []resolverDoc     `yaml:"resolvers"`
	Hooks         hooksDoc          `yaml:"hooks"`
	Freeze        []freezeDoc       `yaml:"freeze"`
	Notify        *notifyDoc        `yaml:"notify"`
	Instances     []instanceDoc     `yaml:"instances,required"`
	Reports       []reportDoc       `yaml:"reports"`
}

// reportDoc is one health report.
type reportDoc struct {
	pos
	Name      val[string]        `yaml:"name,required"`
	Schedule  val[string]        `yaml:"schedule,required"`
	Timezone  val[string]        `yaml:"timezone"`
	Jitter    val[time.Duration] `yaml:"jitter"`
	Instances []val[string]      `yaml:"instances"`
	Window    val[string]        `yaml:"window"`
	Formats   []val[string]      `yaml:"formats"`
	Channels  []val[string]      `yaml:"channels"`
	Keep      val[int]           `yaml:"keep"`
}

type notifyDoc struct {
	pos
	Language  val[string]        `yaml:"language"`
	Zone      val[string]        `yaml:"zone"`
	Runbook   val[string]        `yaml:"runbook"`
	Keep      val[time.Duration] `yaml:"keep"`
	Channels  []channelDoc       `yaml:"channels,required"`
	Routes    []routeDoc         `yaml:"routes"`
	Heartbeat *heartbeatDoc      `yaml:"heartbeat"`
}

// channelDoc has the keys of all types; channelKeys says whose each is.
type channelDoc struct {
	pos
	Name      val[string]        `yaml:"name,required"`
	Type      val[string]        `yaml:"type,required"`
	Language  val[string]        `yaml:"language"`
	Info      val[bool]          `yaml:"info"`
	PerMinute val[int]           `yaml:"per_minute"`
	Quiet     []maintenanceDoc   `yaml:"quiet"`
	Timeout   val[time.Duration] `yaml:"timeout"`
	Allow     []val[string]      `yaml:"allow"`

	URL          val[string]       `yaml:"url"`
	URLFile      val[string]       `yaml:"url_file"`
	SecretFile   val[string]       `yaml:"secret_file"`
	PasswordFile val[string]       `yaml:"password_file"`
	TokenFile    val[string]       `yaml:"token_file"`
	Path         val[string]       `yaml:"path"`
	Keep         val[int]          `yaml:"keep"`
	Server       val[string]       `yaml:"server"`
	TLS          val[string]       `yaml:"tls"`
	User         val[string]       `yaml:"user"`
	From         val[string]       `yaml:"from"`
	To           []val[string]     `yaml:"to"`
	Keyword      val[string]       `yaml:"keyword"`
	Mobiles      []val[string]     `yaml:"mobiles"`
	Labels       dict[val[string]] `yaml:"labels"`
}

type routeDoc struct {
	pos
	Instances []val[string] `yaml:"instances"`
	Kinds     []val[string] `yaml:"kinds"`
	Steps     []stepDoc     `yaml:"steps,required"`
}

type stepDoc struct {
	pos
	Channel val[string]        `yaml:"channel,required"`
	After   val[time.Duration] `yaml:"after"`
}

type heartbeatDoc struct {
	pos
	URLFile val[string]        `yaml:"url_file,required"`
	Every   val[time.Duration] `yaml:"every"`
	Allow   []val[string]      `yaml:"allow"`
}

type controllerDoc struct {
	pos
	Name      val[string] `yaml:"name,required"`
	Data      val[string] `yaml:"data"`
	Socket    val[string] `yaml:"socket"`
	Listen    val[string] `yaml:"listen"`
	Advertise val[string] `yaml:"advertise"`
	TokenFile val[string] `yaml:"token_file"`

	Principals []principalDoc `yaml:"principals"`

	MetricsInstances val[int] `yaml:"metrics_instances"`
}

// principalDoc is a person or a program with a token of its own.
type principalDoc struct {
	pos
	Name      val[string] `yaml:"name,required"`
	TokenFile val[string] `yaml:"token_file,required"`
	Role      val[string] `yaml:"role"`
}

type ownVantageDoc struct {
	pos
	Name     val[string]   `yaml:"name"`
	Domain   val[string]   `yaml:"domain,required"`
	Controls []val[string] `yaml:"controls"`
	Allow    []val[string] `yaml:"allow"`

	WatchTargets val[int] `yaml:"watch_targets"`
}

type vantageDoc struct {
	pos
	Name     val[string]   `yaml:"name,required"`
	Domain   val[string]   `yaml:"domain,required"`
	KeyFile  val[string]   `yaml:"key_file,required"`
	Controls []val[string] `yaml:"controls"`
	Allow    []val[string] `yaml:"allow"`

	WatchTargets val[int] `yaml:"watch_targets"`
}

type authorityDoc struct {
	pos
	Listen       []val[string]      `yaml:"listen,required"`
	Zones        []zoneDoc          `yaml:"zones,required"`
	UDPInFlight  val[int]           `yaml:"udp_in_flight"`
	TCPConns     val[int]           `yaml:"tcp_conns"`
	TCPPerSource val[int]           `yaml:"tcp_per_source"`
	TCPIdle      val[time.Duration] `yaml:"tcp_idle"`

	Keys               dict[sharedKeyDoc] `yaml:"keys"`
	RateLimit          rateLimitDoc       `yaml:"rate_limit"`
	Cookies            cookiesDoc         `yaml:"cookies"`
	Transfers          val[int]           `yaml:"transfers"`
	TransfersPerSource val[int]           `yaml:"transfers_per_source"`
	TransfersPerMinute val[int]           `yaml:"transfers_per_minute"`
	TransferTime       val[time.Duration] `yaml:"transfer_time"`
}

type rateLimitDoc struct {
	pos
	PerSecond val[int]           `yaml:"responses_per_second"`
	Total     val[int]           `yaml:"all_responses_per_second"`
	Window    val[time.Duration] `yaml:"window"`
	Slip      val[int]           `yaml:"slip"`
	Exempt    []val[string]      `yaml:"exempt"`
	Loopback  val[string]        `yaml:"loopback"`
}

type cookiesDoc struct {
	pos
	SecretFile val[string] `yaml:"secret_file"`
	Demand     val[string] `yaml:"demand"`
}

// sharedKeyDoc is a key whose name is its key in the mapping.
type sharedKeyDoc struct {
	pos
	Algorithm  val[string] `yaml:"algorithm"`
	SecretFile val[string] `yaml:"secret_file,required"`
}

type secondaryDoc struct {
	pos
	Address val[string] `yaml:"address,required"`
	Key     val[string] `yaml:"key"`
	Notify  val[bool]   `yaml:"notify"`
	Serves  val[bool]   `yaml:"serves"`
}

type transferDoc struct {
	pos
	Keys      []val[string] `yaml:"keys"`
	Addresses []val[string] `yaml:"addresses"`
}

type zoneDoc struct {
	pos
	Name       val[string]         `yaml:"name,required"`
	NS         []val[string]       `yaml:"ns"`
	Hostmaster val[string]         `yaml:"hostmaster"`
	TTL        val[time.Duration]  `yaml:"ttl"`
	Refresh    val[time.Duration]  `yaml:"refresh"`
	Retry      val[time.Duration]  `yaml:"retry"`
	Expire     val[time.Duration]  `yaml:"expire"`
	Minimum    val[time.Duration]  `yaml:"minimum"`
	Hosts      dict[[]val[string]] `yaml:"hosts"`

	Secondaries []secondaryDoc `yaml:"secondaries"`
	Transfer    transferDoc    `yaml:"transfer"`
	Retired     []val[string]  `yaml:"retired"`
}

// providerDoc has the keys of all types; providerKeys says whose each is.
type providerDoc struct {
	pos
	Type        val[string]        `yaml:"type,required"`
	Zone        val[string]        `yaml:"zone,required"`
	Authorities []val[string]      `yaml:"authorities"`
	Timeout     val[time.Duration] `yaml:"timeout"`
	TTLFloor    val[time.Duration] `yaml:"ttl_floor"`

	Server val[string] `yaml:"server"`
	Key    *keyDoc     `yaml:"key"`

	Resolvers []val[string] `yaml:"resolvers"`

	Endpoint        val[string]             `yaml:"endpoint"`
	Credentials     *credentialsDoc         `yaml:"credentials"`
	ReadCredentials *credentialsDoc         `yaml:"read_credentials"`
	Settle          val[time.Duration]      `yaml:"settle"`
	Requests        val[float64]            `yaml:"requests_per_second"`
	Records         dict[dict[val[string]]] `yaml:"records"`
	Proxy           val[string]             `yaml:"proxy"`
	CAFile          val[string]             `yaml:"ca_file"`

	ZoneID   val[string]   `yaml:"zone_id"`
	Override val[bool]     `yaml:"override"`
	VPCs     []val[string] `yaml:"vpcs"`

	Module           val[string] `yaml:"module"`
	SettingsFile     val[string] `yaml:"settings_file"`
	ReadSettingsFile val[string] `yaml:"read_settings_file"`
}

// credentialsDoc says where the key of a cloud comes from.
type credentialsDoc struct {
	pos
	File             val[string]        `yaml:"file"`
	Env              val[bool]          `yaml:"env"`
	ECSRole          val[string]        `yaml:"ecs_role"`
	OIDCTokenFile    val[string]        `yaml:"oidc_token_file"`
	OIDCProviderARN  val[string]        `yaml:"oidc_provider_arn"`
	RoleARN          val[string]        `yaml:"role_arn"`
	RoleSession      val[string]        `yaml:"role_session"`
	ExternalID       val[string]        `yaml:"external_id"`
	Duration         val[time.Duration] `yaml:"duration"`
	STSEndpoint      val[string]        `yaml:"sts_endpoint"`
	MetadataEndpoint val[string]        `yaml:"metadata_endpoint"`
}

// resolverDoc is one resolver of the panel.
type resolverDoc struct {
	pos
	Name      val[string]        `yaml:"name,required"`
	Address   val[string]        `yaml:"address,required"`
	Stretches val[time.Duration] `yaml:"stretches"`
}

// clientsDoc is what is known of the clients beyond DNS.
type clientsDoc struct {
	pos
	ResolverAllowance val[time.Duration] `yaml:"resolver_allowance"`
	RequestTimeout    val[time.Duration] `yaml:"request_timeout"`
	ConnectionLife    val[time.Duration] `yaml:"connection_life"`
}

type keyDoc struct {
	pos
	Name       val[string] `yaml:"name,required"`
	Algorithm  val[string] `yaml:"algorithm"`
	SecretFile val[string] `yaml:"secret_file,required"`
}

type instanceDoc struct {
	pos
	Name      val[string]            `yaml:"name,required"`
	Preset    val[string]            `yaml:"preset,required"`
	Names     []nameDoc              `yaml:"names,required"`
	Clusters  dict[targetClusterDoc] `yaml:"clusters,required"`
	Primary   val[string]            `yaml:"primary,required"`
	checksDoc `yaml:",inline"`
	timingDoc `yaml:",inline"`

	Auto         val[string]        `yaml:"auto"`
	Approval     val[int]           `yaml:"approval"`
	ApprovalLife val[time.Duration] `yaml:"approval_life"`
	Freeze       []freezeDoc        `yaml:"freeze"`
	TTL          val[time.Duration] `yaml:"ttl"`
	MinUp        val[time.Duration] `yaml:"min_up"`
	Cooldown     val[time.Duration] `yaml:"cooldown"`
	Ack          val[bool]          `yaml:"ack"`
	Budget       []budgetDoc        `yaml:"budget"`
	ConfigSettle val[time.Duration] `yaml:"config_settle"`
	ReadEvery    val[time.Duration] `yaml:"read_every"`
	MoveProof    val[string]        `yaml:"move_proof"`
	RPO          val[string]        `yaml:"rpo"`
	Fence        val[string]        `yaml:"fence"`
	Hooks        hooksDoc           `yaml:"hooks"`
	Clients      clientsDoc         `yaml:"clients"`
	Replication  *replicationDoc    `yaml:"replication"`
}

// timingDoc is what a vantage must know of an instance's policy.
type timingDoc struct {
	Round   val[time.Duration] `yaml:"round"`
	Timeout val[time.Duration] `yaml:"timeout"`
	Burst   val[time.Duration] `yaml:"burst"`
	Fall    val[int]           `yaml:"fall"`
	Rise    val[int]           `yaml:"rise"`
	Window  val[int]           `yaml:"window"`
	Ratio   val[float64]       `yaml:"ratio"`
	RideOut val[time.Duration] `yaml:"ride_out"`
	Watch   val[string]        `yaml:"watch"`
}

type nameDoc struct {
	pos
	Name     val[string]       `yaml:"name,required"`
	Provider val[string]       `yaml:"provider,required"`
	Targets  dict[val[string]] `yaml:"targets"`
	Aliases  []val[string]     `yaml:"aliases"`
}

type clusterDoc struct {
	Address    val[string] `yaml:"address,required"`
	Identity   val[string] `yaml:"identity"`
	Tablestore placeDoc    `yaml:"tablestore"`
}

// placeDoc is where a Tablestore cluster is, in the vendor's words.
type placeDoc struct {
	pos
	Instance val[string] `yaml:"instance,required"`
	Region   val[string] `yaml:"region"`
}

type targetClusterDoc struct {
	pos
	Target      val[string] `yaml:"target"`
	clusterDoc  `yaml:",inline"`
	Domain      val[string]      `yaml:"domain"`
	Maintenance []maintenanceDoc `yaml:"maintenance"`
}

// maintenanceDoc is one stretch (from, to) or a weekly one (days, at, for).
type maintenanceDoc struct {
	pos
	From   val[string]        `yaml:"from"`
	To     val[string]        `yaml:"to"`
	Days   []val[string]      `yaml:"days"`
	At     val[string]        `yaml:"at"`
	For    val[time.Duration] `yaml:"for"`
	Zone   val[string]        `yaml:"zone"`
	Reason val[string]        `yaml:"reason"`
}

// freezeDoc is a stretch, a weekly window, a cron line with a length, or a
// calendar file.
type freezeDoc struct {
	maintenanceDoc `yaml:",inline"`
	Cron           val[string] `yaml:"cron"`
	ICSFile        val[string] `yaml:"ics_file"`
}

type budgetDoc struct {
	pos
	Moves val[int]           `yaml:"moves,required"`
	Per   val[time.Duration] `yaml:"per,required"`
}

// hooksDoc is what is asked before an operation and told after it.
type hooksDoc struct {
	pos
	Pre   []hookDoc          `yaml:"pre"`
	Post  []hookDoc          `yaml:"post"`
	Retry val[time.Duration] `yaml:"retry"`
}

type hookDoc struct {
	pos
	Name       val[string]        `yaml:"name,required"`
	Command    []val[string]      `yaml:"command"`
	URL        val[string]        `yaml:"url"`
	SecretFile val[string]        `yaml:"secret_file"`
	Timeout    val[time.Duration] `yaml:"timeout"`
	On         []val[string]      `yaml:"on"`
	OnError    val[string]        `yaml:"on_error"`
}

// checksDoc is how a cluster is looked at: one check or several.
type checksDoc struct {
	Check   checkDoc        `yaml:"check,or=checks"`
	Checks  []namedCheckDoc `yaml:"checks"`
	Combine val[string]     `yaml:"combine"`
}

type namedCheckDoc struct {
	Name     val[string] `yaml:"name"`
	checkDoc `yaml:",inline"`
}

type checkDoc struct {
	pos
	Type          val[string]        `yaml:"type,required"`
	Port          val[int]           `yaml:"port"`
	Path          val[string]        `yaml:"path"`
	Method        val[string]        `yaml:"method"`
	Status        []val[code]        `yaml:"status"`
	Host          val[string]        `yaml:"host"`
	Headers       dict[val[string]]  `yaml:"headers"`
	ExpectHeaders dict[val[string]]  `yaml:"expect_headers"`
	Body          bodyDoc            `yaml:"body"`
	JSON          jsonDoc            `yaml:"json"`
	Identity      identityDoc        `yaml:"identity"`
	GRPC          grpcDoc            `yaml:"grpc"`
	DNS           dnsDoc             `yaml:"dns"`
	Exec          execDoc            `yaml:"exec"`
	Tablestore    tablestoreDoc      `yaml:"tablestore"`
	Slow          val[time.Duration] `yaml:"slow"`
	ServerName    val[string]        `yaml:"server_name"`
	CA            val[string]        `yaml:"ca"`
	CAFile        val[string]        `yaml:"ca_file"`
	CertWarn      val[time.Duration] `yaml:"cert_warn"`
}

type bodyDoc struct {
	pos
	Contains val[string] `yaml:"contains"`
	Matches  val[string] `yaml:"matches"`
}

type jsonDoc struct {
	pos
	Path  val[string] `yaml:"path,required"`
	Value val[string] `yaml:"value"`
}

type identityDoc struct {
	pos
	Header   val[string] `yaml:"header"`
	JSONPath val[string] `yaml:"json_path"`
	Body     val[string] `yaml:"body"`
	TXT      val[string] `yaml:"txt"`
	Table    val[string] `yaml:"table"`
}

type grpcDoc struct {
	pos
	Service val[string] `yaml:"service,required"`
}

type dnsDoc struct {
	pos
	Name      val[string] `yaml:"name"`
	Type      val[string] `yaml:"type"`
	Transport val[string] `yaml:"transport"`
	Rcode     val[string] `yaml:"rcode"`
	Contains  val[string] `yaml:"contains"`
	Matches   val[string] `yaml:"matches"`
}

type execDoc struct {
	pos
	Command []val[string] `yaml:"command,required"`
}

type tablestoreDoc struct {
	pos
	ServiceKeyFile val[string]        `yaml:"service_key_file,required"`
	ClientKeyFile  val[string]        `yaml:"client_key_file"`
	Scheme         val[string]        `yaml:"scheme"`
	Table          val[string]        `yaml:"table"`
	Denial         val[string]        `yaml:"denial"`
	FrontEvery     val[time.Duration] `yaml:"front_every"`
	FrontTimeout   val[time.Duration] `yaml:"front_timeout"`
}

// vantageFileDoc is vantage.yaml.
type vantageFileDoc struct {
	pos
	Version     val[int]      `yaml:"version"`
	Name        val[string]   `yaml:"name,required"`
	KeyFile     val[string]   `yaml:"key_file,required"`
	Controllers []val[string] `yaml:"controllers,required"`
	CAFile      val[string]   `yaml:"ca_file"`
	Controls    []val[string] `yaml:"controls"`
	Allow       []val[string] `yaml:"allow"`

	WatchTargets val[int] `yaml:"watch_targets"`

	Instances []vantageInstanceDoc `yaml:"instances,required"`
}

type vantageInstanceDoc struct {
	pos
	Name       val[string]            `yaml:"name,required"`
	ClientName val[string]            `yaml:"client_name,required"`
	Preset     val[string]            `yaml:"preset,required"`
	Clusters   dict[probedClusterDoc] `yaml:"clusters,required"`
	checksDoc  `yaml:",inline"`
	timingDoc  `yaml:",inline"`
}

type probedClusterDoc struct {
	pos
	clusterDoc `yaml:",inline"`
}

// missingHints says what to write for keys that people leave out.
var missingHints = map[string]string{
	"name":             "lower case letters, digits, '-', '_' and '.'; of a DNS name the full name",
	"controller":       "controller: {name: ctl-1}",
	"vantage":          "the controller looks too: vantage: {domain: rack-1}",
	"domain":           "the failure domain in which the vantage stands, such as its rack or site: a quorum counts domains, not vantages",
	"key_file":         "make one: (umask 077; openssl rand -base64 32 > van-2.key)",
	"preset":           "one of tablestore-standby, stateless-http, fast-lab",
	"primary":          "the cluster that serves when nothing was recorded yet",
	"check":            "check: {type: http, path: /healthz, identity: {header: X-Cluster}}",
	"clusters":         "exactly two, each with target and address",
	"instance":         "the name of the Tablestore instance that the clients' SDK is given",
	"service_key_file": "the path of a file of mode 0600 with the probes' own key: JSON with AccessKeyId and AccessKeySecret",
	"address":          "the host:port that is dialled, never the instance's own name",
	"names":            "names: [{name: orders.lab.test., provider: embedded}]",
	"provider":         "embedded, or a key under providers",
	"instances":        "one item for each service that is to be moved",
	"channels":         "channels: [{name: files, type: folder, path: notices}]",
	"channel":          "the name of an item under notify.channels",
	"steps":            "steps: [{channel: NAME}, {channel: OTHER, after: 10m}]",
	"url_file":         "the path of a file of mode 0600 that holds the URL",
	"schedule":         "minute, hour, day, month, weekday as in \"0 8 * * *\", or @daily, @weekly, @monthly",
	"client_name":      "the name that clients call: it goes into Host and the server name",
}

// foreignKeys answers for keys that people bring from elsewhere, where the key
// that is meant is known.
var foreignKeys = map[string]struct{ meant, hint string }{
	"secret":       {"secret_file", "a config never holds a secret: put it into a file of mode 0600 and write secret_file"},
	"token":        {"token_file", "a config never holds a secret: put it into a file of mode 0600 and write token_file"},
	"key":          {"key_file", "a config never holds a secret: put it into a file of mode 0600 and write key_file"},
	"interval":     {"round", `did you mean "round"?`},
	"max_failures": {"fall", `did you mean "fall"?`},
	"hold_down":    {"ride_out", `did you mean "ride_out"?`},
}

// weighing are keys by which other tools weigh several checks against one
// another. They are refused with the reason, wherever checks are written.
var weighing = []string{"weight", "weights", "threshold", "quorum", "score"}

const weighingHint = "several checks are combined by combine: all or combine: any; a weighted sum is not offered, because nobody can explain it at 3 a.m."

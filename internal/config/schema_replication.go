package config

import "time"

// replicationDoc is how rows get to the standby.
type replicationDoc struct {
	pos
	Mode          val[string]             `yaml:"mode"`
	Tables        []val[string]           `yaml:"tables"`
	Except        []val[string]           `yaml:"except"`
	SourceKeyFile val[string]             `yaml:"source_key_file"`
	TargetKeyFile val[string]             `yaml:"target_key_file"`
	Scheme        val[string]             `yaml:"scheme"`
	Clusters      dict[replicaClusterDoc] `yaml:"clusters"`
	Visibility    val[time.Duration]      `yaml:"visibility"`
	Resync        val[string]             `yaml:"resync"`
	Copy          copyDoc                 `yaml:"copy"`
	Poll          pollDoc                 `yaml:"poll"`
	Control       controlDoc              `yaml:"control"`
	GlobalTable   val[string]             `yaml:"global_table"`
	External      externalDoc             `yaml:"external"`
}

// replicaClusterDoc is what is otherwise at one of the clusters.
type replicaClusterDoc struct {
	pos
	SourceKeyFile   val[string] `yaml:"source_key_file"`
	TargetKeyFile   val[string] `yaml:"target_key_file"`
	Address         val[string] `yaml:"address"`
	ControlInstance val[string] `yaml:"control_instance"`
}

type copyDoc struct {
	pos
	Parallel val[int] `yaml:"parallel"`
}

type pollDoc struct {
	pos
	Busy val[time.Duration] `yaml:"busy"`
	Idle val[time.Duration] `yaml:"idle"`
}

// controlDoc names the tables of our own at the target.
type controlDoc struct {
	pos
	Table       val[string] `yaml:"table"`
	DeadLetters val[string] `yaml:"dead_letters"`
	Instance    val[string] `yaml:"instance"`
}

// externalDoc says where the lag of somebody else's replication can be read.
type externalDoc struct {
	pos
	URL     val[string]        `yaml:"url"`
	Command []val[string]      `yaml:"command"`
	Every   val[time.Duration] `yaml:"every"`
	Timeout val[time.Duration] `yaml:"timeout"`
}

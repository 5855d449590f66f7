package config

import (
	"slices"

	"pointsman/internal/notify"
)

// A channel has the keys of its type and no other: the schema says so by one
// condition for each type, made of the table by which the loader refuses.

// channelNeeds are the keys that a type cannot do without; of a list within a
// list one is enough.
var channelNeeds = map[notify.Type][][]string{
	notify.Folder:       {{"path"}},
	notify.Email:        {{"server"}, {"from"}, {"to"}},
	notify.Webhook:      {{"url", "url_file"}, {"secret_file"}},
	notify.DingTalk:     {{"url_file"}, {"secret_file", "keyword"}},
	notify.Alertmanager: {{"url", "url_file"}},
	notify.Shoutrrr:     {{"url_file"}},
}

// never fits nothing.
var never = &node{Not: &node{}}

func channelConditions() []*node {
	var out []*node
	for _, t := range notify.Types {
		then := &node{}
		var foreign []string
		for key, types := range channelKeys {
			if !slices.Contains(types, t) {
				foreign = append(foreign, key)
			}
		}
		slices.Sort(foreign)
		for _, key := range foreign {
			then.Properties = append(then.Properties, member{key, never})
		}
		for _, keys := range channelNeeds[t] {
			one := &node{}
			for _, key := range keys {
				one.AnyOf = append(one.AnyOf, &node{Required: []string{key}})
			}
			then.AllOf = append(then.AllOf, one)
		}
		is := &node{Properties: members{{"type", &node{Enum: enum(t)}}}, Required: []string{"type"}}
		out = append(out, &node{If: is, Then: then})
	}
	return out
}

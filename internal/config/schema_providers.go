package config

import "slices"

// A provider has the keys of its type and no other; see providerKeys.
func providerConditions() []*node {
	var out []*node
	for _, t := range providerTypes {
		then := &node{Required: providerNeeds[t]}
		var foreign []string
		for key, types := range providerKeys {
			if !slices.Contains(types, t) {
				foreign = append(foreign, key)
			}
		}
		slices.Sort(foreign)
		for _, key := range foreign {
			then.Properties = append(then.Properties, member{key, never})
		}
		is := &node{Properties: members{{"type", &node{Enum: enum(t)}}}, Required: []string{"type"}}
		out = append(out, &node{If: is, Then: then})
	}
	return out
}

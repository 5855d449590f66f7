//go:build race

package main

// underRace: the program that is killed is built without the detector anyway,
// so fewer visits do.
const underRace = true

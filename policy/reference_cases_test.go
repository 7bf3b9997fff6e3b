//go:build !race

package policy_test

// defaultCases is how many random cases are decided.
const defaultCases = 100_000

// raced is whether the race detector is there, with which no time means much.
const raced = false

//go:build race

package policy_test

// defaultCases is fewer where every step costs ten.
const defaultCases = 10_000

// raced is whether the race detector is there, with which no time means much.
const raced = true

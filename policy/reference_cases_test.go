//go:build !race

package policy_test

// defaultCases is how many random cases are decided.
const defaultCases = 100_000

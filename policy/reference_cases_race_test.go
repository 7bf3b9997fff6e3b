//go:build race

package policy_test

// defaultCases is fewer where every step costs ten.
const defaultCases = 10_000

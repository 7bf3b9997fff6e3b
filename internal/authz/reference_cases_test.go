//go:build !race

package authz_test

// defaultCases is how many random cases are decided.
const defaultCases = 100_000

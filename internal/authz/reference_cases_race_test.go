//go:build race

package authz_test

// defaultCases is fewer where every step costs ten.
const defaultCases = 10_000

//go:build !race

package keyring_test

// perClass and perSlowClass are how many trials that are alike are done: all.
const (
	perClass     = 1 << 30
	perSlowClass = 1 << 30
)

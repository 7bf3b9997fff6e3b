//go:build race

package keyring_test

// perClass is how many trials that are alike are done where the race detector
// slows down the arithmetic, and perSlowClass where it does so most: with the
// curves that have no assembly. `make test` does the others without it.
const (
	perClass     = 6
	perSlowClass = 2
)

package identity

import "time"

// TOTP is the one-time code of a seed at a time.
func TOTP(seed []byte, at time.Time) string {
	code := totp(seed, stepAt(at))
	return string(code[:])
}

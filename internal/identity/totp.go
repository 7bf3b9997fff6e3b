package identity

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"time"
)

// Time-based one-time passwords as RFC 6238 has them by default, and as the
// apps on phones make them: HMAC-SHA-1, six digits, a new one every 30 seconds.
const (
	totpStep   = 30 * time.Second
	totpDigits = 6
	// totpWindow is how many steps a code may be old or early. Source: RFC 6238,
	// section 5.2.
	totpWindow = 1
	// totpSearch is how many steps a device's clock may be off for it to be
	// synchronized again: five minutes.
	totpSearch = 10
)

// stepAt returns the number of the step that a time is in.
func stepAt(t time.Time) int64 { return t.Unix() / int64(totpStep/time.Second) }

// totp returns the code of a step.
func totp(seed []byte, step int64) [totpDigits]byte {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac := hmac.New(sha1.New, seed)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & 0x7fffffff // RFC 4226, section 5.3
	var code [totpDigits]byte
	for i := totpDigits - 1; i >= 0; i-- {
		code[i] = byte('0' + n%10)
		n /= 10
	}
	return code
}

// isTOTP reports whether code is that of a step, in constant time.
func isTOTP(seed []byte, step int64, code string) bool {
	want := totp(seed, step)
	return subtle.ConstantTimeCompare(want[:], []byte(code)) == 1
}

// findTOTP returns the newest step after last whose code is the given one,
// among those around a step. All are looked at, found or not.
func findTOTP(seed []byte, around, last int64, code string) (step int64, ok bool) {
	for s := around - totpWindow; s <= around+totpWindow; s++ {
		if isTOTP(seed, s, code) && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}

// findTOTPs returns the second of two consecutive steps after last whose codes
// are the given ones, if it is at most reach steps off.
func findTOTPs(seed []byte, around, reach, last int64, first, second string) (step int64, ok bool) {
	for s := around - reach; s <= around+reach; s++ {
		a, b := isTOTP(seed, s-1, first), isTOTP(seed, s, second)
		if a && b && s-1 > last {
			step, ok = s, true
		}
	}
	return step, ok
}

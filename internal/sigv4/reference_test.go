package sigv4_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// dateSignature signs the request of TestDateHeader, step by step as the
// documentation does.
func dateSignature(date string) string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	canonical := "POST\n/\n\ndate:" + date + "\nhost:example.amazonaws.com\n\ndate;host\n" + hash("")
	toSign := "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/service/aws4_request\n" + hash(canonical)
	key := []byte("AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
	for _, part := range []string{"20150830", "us-east-1", "service", "aws4_request", toSign} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return hex.EncodeToString(key)
}

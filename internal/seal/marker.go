package seal

import (
	"encoding/base64"
	"errors"
	"strings"
)

// ErrMarker is a marker that was not made for the list that it came back for.
var ErrMarker = errors.New("seal: not a marker of this list")

var markerEncoding = base64.RawURLEncoding.Strict()

// markerAAD is what a marker is bound to: the parts of its scope, in which no
// zero byte may be.
func markerAAD(scope []string) []byte { return []byte("marker\x00" + strings.Join(scope, "\x00")) }

// Marker returns a text by which a client lets a list go on after the item last:
// sealed, so that it is opaque, and bound to the list that the scope names, such
// as an operation, an account and a filter, so that it is good for nothing else.
// It is a third longer than last and [Overhead] together, in the letters of URLs.
// After nothing there is no marker: the text is empty. No part of the scope has
// a zero byte. The error is [ErrSealed].
func (b *Box) Marker(last string, scope ...string) (string, error) {
	if last == "" {
		return "", nil
	}
	sealed, err := b.Seal(Tokens, markerAAD(scope), []byte(last))
	if err != nil {
		return "", err
	}
	return markerEncoding.EncodeToString(sealed), nil
}

// Resume returns the item after which a list goes on, by what [Box.Marker] made
// of it for the same scope; nothing without a marker. Errors: [ErrMarker] and
// [ErrSealed].
func (b *Box) Resume(marker string, scope ...string) (last string, err error) {
	if marker == "" {
		return "", nil
	}
	sealed, err := markerEncoding.DecodeString(marker)
	if err != nil || strings.ContainsAny(marker, "\r\n") { // which decoding passes over
		return "", ErrMarker
	}
	plain, err := b.Open(Tokens, markerAAD(scope), sealed)
	if errors.Is(err, ErrSealed) {
		return "", err
	}
	if err != nil {
		return "", ErrMarker
	}
	return string(plain), nil
}

// Package secret holds bytes that refuse to be printed and are wiped.
//
// A [Bytes] shows as "[secret]" however it is formatted: by any verb of
// package fmt, inside another struct, as JSON, as text or as a log attribute.
// Code that needs the bytes calls [Bytes.Reveal], which is easy to search for.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"unsafe"
)

const redacted = "[secret]"

// Bytes are bytes that must not be shown. Copies of a Bytes share their
// storage, so wiping one wipes all. The zero value is absent: empty, and
// [Bytes.IsNil].
//
// Package fmt cannot call methods of unexported fields: a struct that holds a
// Bytes in one is printed field by field. So the bytes are not kept as a slice
// but as a pointer to the first of them, which prints as an address.
type Bytes struct {
	first *byte
	n     int
}

// New returns a Bytes that takes over b; the caller must not keep using b.
func New(b []byte) Bytes { return Bytes{unsafe.SliceData(b), len(b)} }

// Reveal returns the bytes themselves, not a copy.
func (s Bytes) Reveal() []byte { return unsafe.Slice(s.first, s.n) }

// Len returns the number of bytes.
func (s Bytes) Len() int { return s.n }

// IsNil reports whether s was never given any bytes, not even none.
func (s Bytes) IsNil() bool { return s.first == nil }

// Equal reports whether s and t hold the same bytes, in time that depends only
// on their lengths.
func (s Bytes) Equal(t Bytes) bool { return subtle.ConstantTimeCompare(s.Reveal(), t.Reveal()) == 1 }

// Wipe overwrites the bytes with zeros.
func (s Bytes) Wipe() { clear(s.Reveal()) }

// Format implements [fmt.Formatter] for every verb.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements [fmt.Stringer].
func (s Bytes) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (s Bytes) GoString() string { return redacted }

// LogValue implements [slog.LogValuer].
func (s Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements [json.Marshaler].
func (s Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements [encoding.TextMarshaler].
func (s Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalBinary implements [encoding.BinaryMarshaler] by refusing, which also
// keeps encoding/gob from writing the bytes.
func (s Bytes) MarshalBinary() ([]byte, error) {
	return nil, errors.New("secret: refusing to encode secret bytes")
}

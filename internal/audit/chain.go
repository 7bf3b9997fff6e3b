package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"

	"github.com/keyreeve/keyreeve/internal/seal"
)

// A Tag closes a write: with the tag before it, it tells that nothing between
// the two has been changed.
type Tag [tagSize]byte

const (
	tagSize    = 16
	closingSet = `{"tag":"`
	closingEnd = "\"}\n"
	// closingSize is the size of a closing line, with its newline.
	closingSize = len(closingSet) + (tagSize*8+5)/6 + len(closingEnd)
)

var tagEncoding = base64.RawURLEncoding.Strict()

// String returns the tag as it stands in closing lines.
func (t Tag) String() string { return tagEncoding.EncodeToString(t[:]) }

// appendClosing appends the line that closes a write.
func appendClosing(b []byte, t Tag) []byte {
	b = append(b, closingSet...)
	b = tagEncoding.AppendEncode(b, t[:])
	return append(b, closingEnd...)
}

// parseClosing undoes appendClosing; line has its newline.
func parseClosing(line []byte) (t Tag, ok bool) {
	if len(line) != closingSize || string(line[:len(closingSet)]) != closingSet || string(line[closingSize-len(closingEnd):]) != closingEnd {
		return t, false
	}
	n, err := tagEncoding.Decode(t[:], line[len(closingSet):closingSize-len(closingEnd)])
	return t, err == nil && n == tagSize
}

// A chain makes the tags of a segment, one after the other.
type chain struct {
	tag Tag // of the newest write
	mac hash.Hash
	sum [sha256.Size]byte
}

// newChain returns the chain of a segment that follows one which ended with tag.
func newChain(key []byte, tag Tag) *chain {
	c := &chain{tag: tag}
	if key == nil {
		c.mac = sha256.New()
	} else {
		c.mac = hmac.New(sha256.New, key)
	}
	return c
}

// next returns the tag of the write of these lines. It counts once it is put in
// c.tag.
func (c *chain) next(lines []byte) (t Tag) {
	c.begin()
	_, _ = c.mac.Write(lines) // hashes do not fail
	return c.end()
}

// begin, writes to mac and end are next, in pieces.
func (c *chain) begin() {
	c.mac.Reset()
	_, _ = c.mac.Write(c.tag[:])
}

func (c *chain) end() (t Tag) {
	copy(t[:], c.mac.Sum(c.sum[:0]))
	return t
}

// A header is the first line of a segment. It is a write of its own.
type header struct {
	Journal int    `json:"journal"` // version of the format
	Segment string `json:"segment"` // name of this one
	// Previous is the segment that this one goes on from, from the write that
	// ends at PreviousSize with PreviousTag. What comes after that is the rest of
	// a write that failed. All are empty in the first segment of a log.
	Previous     string `json:"previous"`
	PreviousSize int64  `json:"previousSize"`
	PreviousTag  []byte `json:"previousTag"`
	// Key is the key of the tags, sealed; empty if they have none.
	Key []byte `json:"key"`
}

const (
	journalVersion = 1
	headerSet      = `{"journal":`
	// maxHeader bounds the line of a header.
	maxHeader = 1 << 10
)

// appendHeader appends the line of a header.
func appendHeader(b []byte, h *header) []byte {
	line, err := json.Marshal(h)
	if err != nil {
		panic("audit: " + err.Error()) // strings, numbers and bytes have JSON
	}
	return append(append(b, line...), '\n')
}

var errHeader = errors.New("its first line is not the header of a journal's segment")

// parseHeader undoes appendHeader; line has its newline. Only what appendHeader
// makes is a header.
func parseHeader(line []byte) (*header, error) {
	if len(line) > maxHeader || !bytes.HasPrefix(line, []byte(headerSet)) {
		return nil, errHeader
	}
	h := new(header)
	if json.Unmarshal(line, h) != nil || !bytes.Equal(appendHeader(nil, h), line) {
		return nil, errHeader
	}
	if h.Journal != journalVersion {
		return nil, errors.New("it is a journal's segment of another version")
	}
	if n := len(h.PreviousTag); n != tagSize && n != 0 || h.PreviousSize < 0 {
		return nil, errHeader
	}
	return h, nil
}

// previousTag returns the tag that the chain goes on from.
func (h *header) previousTag() (t Tag) {
	copy(t[:], h.PreviousTag)
	return t
}

// A Box seals the keys of segments. A [seal.Box] is one.
type Box interface {
	Seal(p seal.Purpose, aad, plaintext []byte) ([]byte, error)
	Opener
}

// An Opener opens what a Box has sealed.
type Opener interface {
	Open(p seal.Purpose, aad, sealed []byte) ([]byte, error)
}

// keySize is the size of a segment's key.
const keySize = 32

// keyAAD is the associated data of a segment's key.
func keyAAD(segment string) []byte { return append([]byte("keyreeve/journal\x01"), segment...) }

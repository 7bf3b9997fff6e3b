package server

import "sync"

const (
	// bufferSize is what a buffer begins with, in bytes. It holds every
	// answer that has a secret in it, and every request that has one: the
	// largest are an RSA key pair, and 4,096 bytes with their encryption
	// context. So what is secret is not left behind in a buffer outgrown.
	bufferSize = 16 << 10
	// maxBuffer is the largest buffer that is kept for another call.
	maxBuffer = 64 << 10
)

// A buffer holds the bodies of one call. It is wiped before another call gets
// it.
type buffer struct {
	in  []byte // request body
	out []byte // where the answer is made; its length is what was used
	// spoiled: how much of out was used is not known
	spoiled bool
}

var buffers = sync.Pool{New: func() any {
	return &buffer{in: make([]byte, 0, bufferSize), out: make([]byte, 0, bufferSize)}
}}

// release wipes the buffer and gives it back.
func (b *buffer) release() {
	clear(b.in)
	if b.spoiled {
		clear(b.out[:cap(b.out)])
	} else {
		clear(b.out)
	}
	if cap(b.in) > maxBuffer || cap(b.out) > maxBuffer {
		return
	}
	b.in, b.out, b.spoiled = b.in[:0], b.out[:0], false
	buffers.Put(b)
}

// grew notes what out has become by appending to it.
func (b *buffer) grew(out []byte) {
	if cap(out) == 0 {
		return
	}
	if cap(out) != cap(b.out) {
		clear(b.out[:cap(b.out)]) // outgrown
		b.out = out
		return
	}
	b.out = b.out[:max(len(b.out), len(out))]
}

// growIn makes room for n bytes in in.
func (b *buffer) growIn(n int) {
	grown := make([]byte, len(b.in), n)
	copy(grown, b.in)
	clear(b.in)
	b.in = grown
}

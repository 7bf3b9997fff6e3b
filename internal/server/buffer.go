package server

import "sync"

const (
	// inputSize is what a request's buffer begins with, in bytes: all that one
	// costs of which nothing has come.
	inputSize = 8 << 10
	// smallInput is the largest buffer of a request that may be read without a
	// place among the large ones, and that is kept for another call. It holds
	// all that KMS is usually asked: 4,096 bytes with their encryption context.
	smallInput = 16 << 10
	// outputSize is what an answer's buffer begins with. It holds every answer
	// that has a secret in it; the largest is an RSA key pair.
	outputSize = 16 << 10
	// maxOutput is the largest buffer of an answer that is kept.
	maxOutput = 64 << 10
)

// An input holds the body of a request. It is wiped before another call gets
// it, and when it is outgrown.
type input struct {
	b []byte // what was read
	// unread: the request has a body that was not read to its end.
	unread bool

	visitor visitor // while it is read
	large   visitor // from when it is large
	isLarge bool    // large has entered
}

var inputs = sync.Pool{New: func() any { return &input{b: make([]byte, 0, inputSize)} }}

// release wipes the input and gives it back. Its visitors have left.
func (in *input) release() {
	clear(in.b)
	if cap(in.b) > smallInput {
		return
	}
	in.b, in.unread, in.isLarge = in.b[:0], false, false
	inputs.Put(in)
}

// grow makes room for n bytes in all.
func (in *input) grow(n int) {
	grown := make([]byte, len(in.b), n)
	copy(grown, in.b)
	clear(in.b)
	in.b = grown
}

// An output is where an answer is made. It is wiped before another call gets
// it.
type output struct {
	b []byte // its length is what was used
	// spoiled: how much of it was used is not known
	spoiled bool
}

var outputs = sync.Pool{New: func() any { return &output{b: make([]byte, 0, outputSize)} }}

// release wipes the output and gives it back.
func (o *output) release() {
	if o.spoiled {
		clear(o.b[:cap(o.b)])
	} else {
		clear(o.b)
	}
	if cap(o.b) > maxOutput {
		return
	}
	o.b, o.spoiled = o.b[:0], false
	outputs.Put(o)
}

// grew notes what the output has become by appending to it.
func (o *output) grew(b []byte) {
	if cap(b) == 0 {
		return
	}
	if cap(b) != cap(o.b) {
		clear(o.b[:cap(o.b)]) // outgrown
		o.b = b
		return
	}
	o.b = o.b[:max(len(o.b), len(b))]
}

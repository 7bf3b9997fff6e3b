package keyring

import (
	"bytes"
	"crypto/sha3"
)

// What follows verifies ML-DSA signatures of μ, which package mldsa makes and
// does not verify: FIPS 204, algorithm 8 (ML-DSA.Verify_internal) from line 8
// on. All of it is public, so that time may depend on it. Names are those of the
// standard.

const (
	latticeQ = 8380417
	latticeN = 256
	latticeD = 13
)

// latticeSet is a parameter set: FIPS 204, table 1.
type latticeSet struct {
	k, l       int
	tau        int
	commitment int // bytes of c̃: λ/4
	gamma1Bits int // γ1 is 2 to this
	gamma2     int32
	beta       int32
	omega      int
}

func latticeSetOf(s Spec) *latticeSet {
	switch s {
	case MLDSA44:
		return &latticeSet{k: 4, l: 4, tau: 39, commitment: 32, gamma1Bits: 17, gamma2: (latticeQ - 1) / 88, beta: 78, omega: 80}
	case MLDSA65:
		return &latticeSet{k: 6, l: 5, tau: 49, commitment: 48, gamma1Bits: 19, gamma2: (latticeQ - 1) / 32, beta: 196, omega: 55}
	case MLDSA87:
		return &latticeSet{k: 8, l: 7, tau: 60, commitment: 64, gamma1Bits: 19, gamma2: (latticeQ - 1) / 32, beta: 120, omega: 75}
	}
	return nil
}

// latticePoly is a polynomial, or what the NTT makes of one: coefficients of
// 0 to q-1.
type latticePoly [latticeN]int32

// latticeZetas are the powers of 1753, in the order of bits reversed.
var latticeZetas = func() (z [latticeN]int32) {
	power := int64(1)
	var powers [latticeN]int32
	for i := range powers {
		powers[i] = int32(power)
		power = power * 1753 % latticeQ
	}
	for i := range z {
		reversed := 0
		for bit := range 8 {
			reversed |= i >> bit & 1 << (7 - bit)
		}
		z[i] = powers[reversed]
	}
	return z
}()

// reduce returns x mod q, for a negative x too.
func reduce(x int64) int32 {
	if x %= latticeQ; x < 0 {
		x += latticeQ
	}
	return int32(x)
}

// ntt is algorithm 41.
func (w *latticePoly) ntt() {
	m := 0
	for size := 128; size >= 1; size /= 2 {
		for start := 0; start < latticeN; start += 2 * size {
			m++
			z := int64(latticeZetas[m])
			for j := start; j < start+size; j++ {
				t := z * int64(w[j+size]) % latticeQ
				w[j+size] = reduce(int64(w[j]) - t)
				w[j] = reduce(int64(w[j]) + t)
			}
		}
	}
}

// inverseNTT is algorithm 42.
func (w *latticePoly) inverseNTT() {
	m := latticeN
	for size := 1; size < latticeN; size *= 2 {
		for start := 0; start < latticeN; start += 2 * size {
			m--
			z := int64(latticeQ - latticeZetas[m])
			for j := start; j < start+size; j++ {
				t := int64(w[j])
				w[j] = reduce(t + int64(w[j+size]))
				w[j+size] = reduce(z * int64(reduce(t-int64(w[j+size]))))
			}
		}
	}
	const inverseOfN = 8347681
	for j := range w {
		w[j] = reduce(inverseOfN * int64(w[j]))
	}
}

// addProduct adds to w what a and b make, coefficient by coefficient.
func (w *latticePoly) addProduct(a, b *latticePoly) {
	for i := range w {
		w[i] = reduce(int64(w[i]) + int64(a[i])*int64(b[i]))
	}
}

// unpack calls each with the numbers of so many bits that b holds, the lowest
// bits first.
func unpack(b []byte, width int, each func(i int, v int32)) {
	var have uint64
	n, i := 0, 0
	for _, x := range b {
		have |= uint64(x) << n
		for n += 8; n >= width; n -= width {
			each(i, int32(have&(1<<width-1)))
			have >>= width
			i++
		}
	}
}

// rejectNTT makes an element of the matrix Â: algorithm 30.
func rejectNTT(rho []byte, r, s int) (a latticePoly) {
	x := sha3.NewSHAKE128()
	_, _ = x.Write(rho)
	_, _ = x.Write([]byte{byte(s), byte(r)})
	var buf [168]byte
	for i := 0; i < latticeN; {
		_, _ = x.Read(buf[:])
		for b := buf[:]; len(b) > 0 && i < latticeN; b = b[3:] {
			if v := int32(b[0]) | int32(b[1])<<8 | int32(b[2]&0x7f)<<16; v < latticeQ {
				a[i] = v
				i++
			}
		}
	}
	return a
}

// sampleInBall makes the challenge of its commitment: algorithm 29.
func sampleInBall(commitment []byte, tau int) (c latticePoly) {
	x := sha3.NewSHAKE256()
	_, _ = x.Write(commitment)
	var signs [8]byte
	_, _ = x.Read(signs[:])
	for i := latticeN - tau; i < latticeN; i++ {
		var j [1]byte
		for {
			if _, _ = x.Read(j[:]); int(j[0]) <= i {
				break
			}
		}
		c[i] = c[j[0]]
		c[j[0]] = 1
		if n := i + tau - latticeN; signs[n/8]>>(n%8)&1 == 1 {
			c[j[0]] = latticeQ - 1
		}
	}
	return c
}

// unpackHints is algorithm 21: false if they are not in their only encoding.
func (p *latticeSet) unpackHints(y []byte) (h [][latticeN]bool, ok bool) {
	h = make([][latticeN]bool, p.k)
	index := 0
	for i := range h {
		end := int(y[p.omega+i])
		if end < index || end > p.omega {
			return nil, false
		}
		for first := index; index < end; index++ {
			if index > first && y[index-1] >= y[index] {
				return nil, false
			}
			h[i][y[index]] = true
		}
	}
	for _, rest := range y[index:p.omega] {
		if rest != 0 {
			return nil, false
		}
	}
	return h, true
}

// useHint is algorithm 40, with algorithm 36.
func (p *latticeSet) useHint(hint bool, r int32) int32 {
	m := (latticeQ - 1) / (2 * p.gamma2)
	r0 := r % (2 * p.gamma2)
	if r0 > p.gamma2 {
		r0 -= 2 * p.gamma2
	}
	var r1 int32
	if r-r0 == latticeQ-1 {
		r0--
	} else {
		r1 = (r - r0) / (2 * p.gamma2)
	}
	switch {
	case !hint:
		return r1
	case r0 > 0:
		return (r1 + 1) % m
	}
	return (r1 - 1 + m) % m
}

// verifyMu reports whether signature is one of μ by a public key of spec s.
func verifyMu(s Spec, public, mu, signature []byte) bool {
	p := latticeSetOf(s)
	if p == nil {
		return false
	}
	zLen := latticeN / 8 * (p.gamma1Bits + 1)
	if len(public) != 32+p.k*320 || len(mu) != mldsaMuLen || len(signature) != p.commitment+p.l*zLen+p.omega+p.k {
		return false
	}
	commitment, rest := signature[:p.commitment], signature[p.commitment:]
	z := make([]latticePoly, p.l)
	gamma1, small := int32(1)<<p.gamma1Bits, true
	for i := range z {
		unpack(rest[:zLen], p.gamma1Bits+1, func(j int, v int32) {
			v = gamma1 - v
			small = small && v < gamma1-p.beta && -v < gamma1-p.beta
			z[i][j] = reduce(int64(v))
		})
		rest = rest[zLen:]
		z[i].ntt()
	}
	hints, ok := p.unpackHints(rest)
	if !ok || !small {
		return false
	}
	c := sampleInBall(commitment, p.tau)
	c.ntt()
	for i := range c { // it is only subtracted
		c[i] = reduce(-int64(c[i]))
	}
	width := 4 // of a coefficient of w1
	if p.gamma2 == (latticeQ-1)/88 {
		width = 6
	}
	rho, t1 := public[:32], public[32:]
	hash := sha3.NewSHAKE256()
	_, _ = hash.Write(mu)
	for r := range p.k {
		var w, t latticePoly
		unpack(t1[r*320:(r+1)*320], 10, func(j int, v int32) { t[j] = v << latticeD })
		t.ntt()
		w.addProduct(&c, &t)
		for s := range p.l {
			a := rejectNTT(rho, r, s)
			w.addProduct(&a, &z[s])
		}
		w.inverseNTT()
		var packed []byte
		var bits, n int
		for j := range w {
			bits |= int(p.useHint(hints[r][j], w[j])) << n
			for n += width; n >= 8; n -= 8 {
				packed = append(packed, byte(bits))
				bits >>= 8
			}
		}
		_, _ = hash.Write(packed)
	}
	got := make([]byte, p.commitment)
	_, _ = hash.Read(got)
	return bytes.Equal(got, commitment)
}

package wire

// Args reads the top-level values of a body one after the other: what match
// rules look at as arg0, arg1 and so on. It does not allocate, and steps over
// arrays without reading them. The body is one that [ValidateBody] found
// valid; of any other it may yield nonsense, but nothing worse.
type Args struct {
	reader    reader
	signature string
	at        int // of the next type in signature
	index     int
}

// Arg is a top-level value of a body.
type Arg struct {
	// Index counts from 0.
	Index int
	// Signature is its type, one complete type.
	Signature string
	// Text is the content of a STRING, OBJECT_PATH or SIGNATURE; it is part of
	// the body. For other types it is empty.
	Text string
}

// Type is the first code of the signature: 's', 'a', '(' and so on.
func (a Arg) Type() byte { return a.Signature[0] }

// NewArgs begins to read the values of body.
func NewArgs(order Order, signature string, body []byte) Args {
	return Args{reader: reader{order: order, data: body}, signature: signature}
}

// Next returns the next value; ok is false if there is none.
func (a *Args) Next() (arg Arg, ok bool) {
	if a.at == len(a.signature) {
		return Arg{}, false
	}
	arg.Index = a.index
	begin := a.at
	a.index++
	switch c := a.signature[begin]; c {
	case 's', 'o':
		arg.Text = a.reader.text(a.reader.uint32())
		a.at++
	case 'g':
		arg.Text = a.reader.signature()
		a.at++
	default:
		a.at = nextType(a.signature, begin)
		a.reader.skip(a.signature[begin:a.at], 0)
	}
	arg.Signature = a.signature[begin:a.at]
	return arg, true
}

// skip steps over the values of the types in sig, inside depth containers.
func (r *reader) skip(sig string, depth int) {
	if depth > MaxDepth {
		return
	}
	for i := 0; i < len(sig); {
		next := nextType(sig, i)
		switch c := sig[i]; c {
		case 's', 'o':
			r.text(r.uint32())
		case 'g':
			r.signature()
		case 'v':
			r.skip(r.signature(), depth+1)
		case '(':
			r.take(8, 0)
			r.skip(sig[i+1:max(i+1, next-1)], depth+1)
		case 'a':
			r.pos = r.array(sig[min(i+1, len(sig)-1)])
		default:
			n := alignment(c) // and size
			r.take(n, uint32(n))
		}
		i = next
	}
}

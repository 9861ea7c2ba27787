package wire

// Visitor is told what is in a body, in order, by [Walk]. An error it returns
// ends the walk and is returned by it. Strings are part of the body and the
// signature walked over: valid as long as those are not changed.
type Visitor interface {
	// Basic visits a value of a basic type.
	Basic(v Basic) error
	// Enter visits the beginning of a container. Kind is 'a', '(', '{' or
	// 'v'; contents is the signature of what is in it: of the elements for an
	// array, the fields for a struct or dict entry, the value for a variant.
	Enter(kind byte, contents string) error
	// Leave visits the end of the container entered last and not yet left.
	Leave(kind byte) error
}

// Walk visits the values of a body without making Go values of them. The body
// is validated first: unless it is valid as a whole, nothing is visited.
func Walk(order Order, signature string, body []byte, visitor Visitor) error {
	if err := ValidateBody(order, signature, body); err != nil {
		return err
	}
	w := walker{reader: reader{order: order, data: body}, visitor: visitor}
	return w.values(signature)
}

type walker struct {
	reader
	visitor Visitor
}

// values visits the values of the types in sig.
func (w *walker) values(sig string) error {
	for i := 0; i < len(sig); {
		next := nextType(sig, i)
		var err error
		switch c := sig[i]; c {
		case 'a':
			err = w.array(sig[i+1 : next])
		case 'v':
			contents := w.signature()
			err = w.container('v', contents)
		case '(', '{':
			w.take(8, 0)
			err = w.container(c, sig[i+1:next-1])
		default:
			err = w.visitor.Basic(w.basic(c))
		}
		if err != nil {
			return err
		}
		i = next
	}
	return nil
}

// container visits a container that holds one value of each type in contents.
func (w *walker) container(kind byte, contents string) error {
	if err := w.visitor.Enter(kind, contents); err != nil {
		return err
	}
	if err := w.values(contents); err != nil {
		return err
	}
	return w.visitor.Leave(kind)
}

func (w *walker) array(element string) error {
	end := w.reader.array(element[0])
	if err := w.visitor.Enter('a', element); err != nil {
		return err
	}
	for w.pos < end {
		if err := w.values(element); err != nil {
			return err
		}
	}
	return w.visitor.Leave('a')
}

package gvariant

import "github.com/kdbus-go/kdbus/wire"

// AppendBody appends values to dst as the body of a version 2 message, in normal
// form, and returns their signature too. Go types and errors are those of
// [wire.AppendBody]. Alignment counts from len(dst). After an error, the result is
// dst.
func AppendBody(dst []byte, order wire.Order, values ...any) ([]byte, wire.Signature, error) {
	body, sig, err := wire.AppendBody(nil, order, values...)
	if err != nil {
		return dst, "", err
	}
	dst, err = AppendFromDBus1(dst, order, order, string(sig), body)
	return dst, sig, err
}

// AppendBodyAs is [AppendBody] with a signature given, see [wire.AppendBodyAs].
func AppendBodyAs(dst []byte, order wire.Order, signature string, values ...any) ([]byte, error) {
	body, err := wire.AppendBodyAs(nil, order, signature, values...)
	if err != nil {
		return dst, err
	}
	return AppendFromDBus1(dst, order, order, signature, body)
}

// Values returns the values of the body of a version 2 message, as [wire.Values]
// does for version 1. The body must be in normal form and hold what version 1 can
// hold, see [AppendToDBus1].
func Values(order wire.Order, signature string, body []byte) ([]any, error) {
	b, err := AppendToDBus1(nil, order, order, signature, body)
	if err != nil {
		return nil, err
	}
	return wire.Values(order, signature, b)
}

// Decode stores the values of the body of a version 2 message in what dst point
// to, as [wire.Decode] does for version 1. The body must be in normal form and
// hold what version 1 can hold, see [AppendToDBus1].
func Decode(order wire.Order, signature string, body []byte, dst ...any) error {
	b, err := AppendToDBus1(nil, order, order, signature, body)
	if err != nil {
		return err
	}
	return wire.Decode(order, signature, b, dst...)
}

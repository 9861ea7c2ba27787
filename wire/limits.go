package wire

// Limits of the protocol; sizes are in bytes. What exceeds them is invalid.
const (
	// MaxMessageSize bounds a whole message: header, padding and body.
	MaxMessageSize = 128 << 20
	// MaxArraySize bounds the elements of one array, without the array's
	// length field and the padding before its first element.
	MaxArraySize = 64 << 20
	// MaxNameLength bounds bus, interface, member and error names.
	MaxNameLength = 255
	// MaxSignatureLength bounds a signature.
	MaxSignatureLength = 255
	// MaxArrayDepth bounds how many arrays may be nested in one signature.
	MaxArrayDepth = 32
	// MaxStructDepth bounds how many structs may be nested in one signature.
	MaxStructDepth = 32
	// MaxDepth bounds how many containers of any kind, variants included, may
	// be nested in a message.
	MaxDepth = 64
	// HeaderFixedSize is the size of the part of the header before its fields:
	// what [MessageSize] needs to see.
	HeaderFixedSize = 16
)

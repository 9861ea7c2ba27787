package values

import (
	"strconv"

	"github.com/kdbus-go/kdbus/cmd/kdbus/internal/jsontext"
	"github.com/kdbus-go/kdbus/wire"
)

// JSON returns the values of a body: strings, numbers, arrays; a struct is an array, an array of
// dict entries an object, and a variant an object with its type and its data.
func JSON(body Body) ([]any, error) {
	j := collector{open: []frame{{}}}
	err := body.Walk(&j)
	if values := j.open[0].values; len(values) > 0 || err != nil {
		return values, err
	}
	return []any{}, nil
}

// Typed returns values together with their signature, as busctl prints an answer.
func Typed(signature string, data any) jsontext.Object {
	return jsontext.Object{{Key: "type", Value: signature}, {Key: "data", Value: data}}
}

type collector struct{ open []frame }

type frame struct {
	kind     byte
	contents string
	values   []any
}

func (j *collector) add(v any) {
	top := &j.open[len(j.open)-1]
	top.values = append(top.values, v)
}

// Basic is wire.Visitor's.
func (j *collector) Basic(v wire.Basic) error {
	switch v.Type {
	case 's', 'o', 'g':
		j.add(v.Text())
	case 'b':
		j.add(v.Bool())
	case 'd':
		j.add(v.Double())
	case 'n', 'i', 'x':
		j.add(v.Int())
	default:
		j.add(v.Uint())
	}
	return nil
}

// Enter is wire.Visitor's.
func (j *collector) Enter(kind byte, contents string) error {
	j.open = append(j.open, frame{kind: kind, contents: contents, values: []any{}})
	return nil
}

// Leave is wire.Visitor's.
func (j *collector) Leave(byte) error {
	top := j.open[len(j.open)-1]
	j.open = j.open[:len(j.open)-1]
	switch {
	case top.kind == 'v':
		j.add(Typed(top.contents, top.values[0]))
	case top.kind == 'a' && top.contents[0] == '{':
		object := make(jsontext.Object, 0, len(top.values))
		for _, entry := range top.values {
			object = append(object, entry.(jsontext.Object)...)
		}
		j.add(object)
	case top.kind == '{':
		j.add(jsontext.Object{{Key: key(top.values[0]), Value: top.values[1]}})
	default:
		j.add(top.values)
	}
	return nil
}

// key returns the key of a dict entry as that of a member: JSON has only strings there.
func key(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return ""
}

package dbus1

import "github.com/kdbus-go/kdbus/wire"

// The interface org.freedesktop.DBus.Properties of the driver, whose properties are all constant.

var propertiesMethods = []method{
	{name: "Get", in: "ss", out: "v", handle: getProperty},
	{name: "GetAll", in: "s", out: "a{sv}", handle: getAllProperties},
	{name: "Set", in: "ssv", handle: setProperty},
}

func findInterface(name string) (*iface, error) {
	for i := range interfaces {
		if interfaces[i].name == name {
			return &interfaces[i], nil
		}
	}
	return nil, dbusErrorf("UnknownInterface", "Interface \"%s\" not found", name)
}

func findProperty(interfaceName, name string) (*property, error) {
	in, err := findInterface(interfaceName)
	if err != nil {
		return nil, err
	}
	for i := range in.properties {
		if in.properties[i].name == name {
			return &in.properties[i], nil
		}
	}
	return nil, dbusErrorf("UnknownProperty", "Property \"%s.%s\" not found", interfaceName, name)
}

func getProperty(c *call) error {
	var interfaceName, name string
	if err := c.args(&interfaceName, &name); err != nil {
		return err
	}
	p, err := findProperty(interfaceName, name)
	if err != nil {
		return err
	}
	return c.reply(wire.Variant{Signature: p.typ, Value: p.get(c.server)})
}

func getAllProperties(c *call) error {
	var interfaceName string
	if err := c.args(&interfaceName); err != nil {
		return err
	}
	in, err := findInterface(interfaceName)
	if err != nil {
		return err
	}
	all := make(map[string]wire.Variant)
	for _, p := range in.properties {
		all[p.name] = wire.Variant{Signature: p.typ, Value: p.get(c.server)}
	}
	return c.reply(all)
}

func setProperty(c *call) error {
	var interfaceName, name string
	var value wire.Variant
	if err := c.args(&interfaceName, &name, &value); err != nil {
		return err
	}
	if _, err := findProperty(interfaceName, name); err != nil {
		return err
	}
	return dbusErrorf("PropertyReadOnly", "Property '%s.%s' cannot be set", interfaceName, name)
}

# A client written with ruby-dbus. Prints like client_dbus.py.
# usage: client.rb NAME
require 'dbus'

$stdout.sync = true

def check(what, got, want)
  puts(got == want ? "ok #{what}" : "not ok #{what}: expected #{want.inspect}, got #{got.inspect}")
end

bus = DBus::SessionBus.instance
object = bus.service(ARGV[0]).object('/com/example/Conformance')
object.introspect
iface = object['com.example.Conformance']
check('call', [*iface.Echo('text')].first, 'text')
check('who am I', [*iface.WhoAmI].first, bus.unique_name)
begin
  iface.Fail('on purpose')
rescue DBus::Error => e
  check('error', [e.name, e.message.include?('on purpose')], ['com.example.Conformance.Error.Failed', true])
end
loop = DBus::Main.new
loop << bus
got = nil
iface.on_signal('Ticked') { |*args| got = args; loop.quit }
iface.Emit('tick')
loop.run unless got
check('signal', got, ['tick', 4])
check('names', bus.proxy.ListNames[0].include?(ARGV[0]), true)
puts 'done'

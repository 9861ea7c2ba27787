# A client written with Perl's Net::DBus. Prints like client_dbus.py.
# usage: client.pl NAME
use strict;
use warnings;
use Net::DBus;
use Net::DBus::Reactor;

$| = 1;

sub check {
    my ($what, $got, $want) = @_;
    print $got eq $want ? "ok $what\n" : "not ok $what: expected $want, got $got\n";
}

my $bus = Net::DBus->session;
my $object = $bus->get_service($ARGV[0])->get_object('/com/example/Conformance', 'com.example.Conformance');
check('call', $object->Echo(Net::DBus::dbus_string('text')), 'text');
check('who am I', $object->WhoAmI(), $bus->get_unique_name());
eval { $object->Fail('on purpose') };
check('error', $@->message, 'on purpose');
my $reactor = Net::DBus::Reactor->main;
my $signal = '';
$object->connect_to_signal('Ticked', sub { $signal = "@_"; $reactor->shutdown });
$object->Emit('tick');
$reactor->run unless $signal;
check('signal', $signal, 'tick 4');
my $driver = $bus->get_service('org.freedesktop.DBus')->get_object('/org/freedesktop/DBus');
check('names', scalar(grep { $_ eq $ARGV[0] } @{$driver->ListNames}), 1);
print "done\n";

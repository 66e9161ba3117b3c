# The first two packets of an SCTP association, by raw sockets: also where the kernel has no SCTP.
#
#     network-sctp.pl serve 4|6 PORT     answers INIT with INIT ACK, for a minute, and says who asked
#     network-sctp.pl call ADDRESS PORT  sends INIT, and says who answered from which port
use strict;
use warnings;
use Socket qw(:all);

my ($SCTP, $INIT, $INIT_ACK) = (132, 1, 2);
my ($role, $where, $port) = @ARGV;
my $six = $role eq 'serve' ? $where == 6 : $where =~ /:/;
my $family = $six ? AF_INET6 : AF_INET;
$| = 1;

# RFC 9260: CRC32c, least significant byte first.
sub checksum {
    my $crc = 0xffffffff;
    for my $byte (unpack 'C*', shift) {
        $crc ^= $byte;
        $crc = $crc & 1 ? $crc >> 1 ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
    }
    return $crc ^ 0xffffffff;
}

# From port, to port, verification tag, type of the chunk.
sub message {
    my ($from, $to, $tag, $type) = @_;
    my $text = pack 'nnNN CCnNNnnN', $from, $to, $tag, 0, $type, 0, 20, 0x11223344, 65536, 10, 10, 1;
    substr($text, 8, 4) = pack 'V', checksum($text);
    return $text;
}

# The next whole message of a type for a port: who sent it, and from which port.
sub next_message {
    my ($socket, $wanted, $to) = @_;
    while (my $sender = recv $socket, my $text, 2000, 0) {
        $text = substr $text, 20 if !$six;
        my ($from, $at, $tag, $sum, $type) = unpack 'nnNVC', $text;
        substr($text, 8, 4) = "\0\0\0\0";
        next if $at != $to || $type != $wanted || checksum($text) != $sum;
        my (undef, $address) = $six ? unpack_sockaddr_in6($sender) : unpack_sockaddr_in($sender);
        return ($address, $from);
    }
    die "no message: $!";
}

sub to { return $six ? pack_sockaddr_in6(0, shift) : pack_sockaddr_in(0, shift) }

socket my $socket, $family, SOCK_RAW, $SCTP or die "no raw socket: $!";
if ($role eq 'serve') {
    alarm 60;
    print "ready\n";
    while (1) {
        my ($caller, $from) = next_message($socket, $INIT, $port);
        print inet_ntop($family, $caller), "\n";
        send $socket, message($port, $from, 0x11223344, $INIT_ACK), 0, to($caller) or die "no answer: $!";
    }
}
alarm 10;
my $mine = 50000 + $$ % 10000;
send $socket, message($mine, $port, 0, $INIT), 0, to(inet_pton($family, $where)) or die "not sent: $!";
my ($server, $from) = next_message($socket, $INIT_ACK, $mine);
print inet_ntop($family, $server), " $from\n";

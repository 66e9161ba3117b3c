/**
 * Learns with which status a container's process ends, where the restart monitor (before containerd 1.7) neither looks at it nor
 * hands it on: asks the shim to tell when it comes to that, by its own API (ttrpc, `containerd.task.v2.Task/Wait`; `v3` from 2.0
 * on), in the bundle's folder. The shim answers at the end of the process, so nothing is polled and no status can be missed.
 *
 * Needs no more than perl itself with `Socket` (Debian's essential `perl-base`). Arguments: the container's id, the name of the
 * run, the file that gets `RUN STATUS`. Ends then, or with the shim. No single quotes, since it stands between such.
 */
export const EXIT_STATUS_SCRIPT = `
use strict; use Socket; use Fcntl;
my ($id, $run, $file) = @ARGV;
sub text { open(my $f, "<", $_[0]) or return ""; local $/; my $t = <$f>; return $t }
my $bootstrap = text("bootstrap.json");
my ($address) = $bootstrap =~ /"address":"([^"]*)"/ ? $1 : text("address");
my ($version) = $bootstrap =~ /"version":([3-9])/ ? $1 : 2;
$address =~ s{^unix://}{};
sub varint { my ($n) = @_; my $v = ""; while ($n > 127) { $v .= chr($n & 127 | 128); $n >>= 7 } return $v . chr($n) }
sub field { my ($number, $bytes) = @_; return chr($number << 3 | 2) . varint(length $bytes) . $bytes }
sub fields { # Of a protobuf message, by number.
    my ($message) = @_;
    my (%found, $at);
    my $next = sub { my ($n, $shift) = (0, 0); while ($at < length $message) { my $b = ord(substr($message, $at++, 1)); $n |= ($b & 127) << $shift; $shift += 7; last if $b < 128 } return $n };
    for ($at = 0; $at < length $message;) {
        my $key = $next->();
        if (($key & 7) == 0) { $found{$key >> 3} = $next->() }
        elsif (($key & 7) == 2) { my $n = $next->(); $found{$key >> 3} = substr($message, $at, $n); $at += $n }
        else { last }
    }
    return %found;
}
sub answer { # To one Wait; undef where the connection ended.
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or return;
    connect($s, sockaddr_un($address)) or return;
    my $request = field(1, "containerd.task.v$version.Task") . field(2, "Wait") . field(3, field(1, $id));
    syswrite($s, pack("NNCC", length $request, 1, 1, 0) . $request);
    my $got = "";
    until (length $got >= 10 && length $got >= 10 + unpack("N", $got)) { sysread($s, $got, 65536, length $got) or return }
    return substr($got, 10, unpack("N", $got));
}
# The process may not be made yet.
for my $attempt (1 .. 600) {
    my $answer = answer();
    my %answer = defined $answer ? fields($answer) : (1 => "");
    if (exists $answer{1}) { select(undef, undef, undef, 0.05); next }
    my %ended = fields($answer{2});
    sysopen(my $f, $file, O_RDWR | O_CREAT, 0640) or exit 1;
    syswrite($f, sprintf("%-119s\\n", "$run " . ($ended{1} || 0)));
    exit 0;
}
`;

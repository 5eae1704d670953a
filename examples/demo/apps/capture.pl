# Captures every frame of an interface into a pcap file, as tcpdump does: in a user namespace tcpdump refuses to run, since
# it cannot change its groups there. Usage: perl capture.pl INTERFACE-INDEX FILE
use strict;
use warnings;
use Time::HiRes qw(time);

my ( $index, $file ) = @ARGV;
my ( $af_packet, $sock_raw, $eth_p_all ) = ( 17, 3, 3 );
socket( my $socket, $af_packet, $sock_raw, unpack( 'S', pack( 'n', $eth_p_all ) ) ) or die "socket: $!\n";
bind( $socket, pack( 'S n i S C C x8', $af_packet, $eth_p_all, $index, 0, 0, 0 ) ) or die "bind: $!\n";
open( my $out, '>:raw', $file ) or die "$file: $!\n";
syswrite( $out, pack( 'L S S l L L L', 0xa1b2c3d4, 2, 4, 0, 0, 65_535, 1 ) );
print STDERR "listening on $index\n";
while ( defined recv( $socket, my $frame, 65_535, 0 ) ) {
    my $now = time;
    my $length = length $frame;
    syswrite( $out, pack( 'L L L L', int $now, int( ( $now - int $now ) * 1e6 ), $length, $length ) . $frame );
}

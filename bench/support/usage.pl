# Runs a command some times and prints what each run took: milliseconds of processor
# time, and the largest resident set in kilobytes. Perl is small, so the resident set is
# that of the command, not of what started it.
#
#     perl usage.pl TIMES COMMAND [ARGUMENT...]
use strict;
use warnings;
use POSIX ();

my %WAIT4 = (x86_64 => 61, aarch64 => 260);
my $wait4 = $WAIT4{(POSIX::uname())[4]} // die "unknown architecture\n";
my $times = shift @ARGV;
for (1 .. $times) {
  my $pid = fork() // die "fork: $!\n";
  if ($pid == 0) {
    open(STDOUT, '>', '/dev/null') or die;
    open(STDERR, '>', '/dev/null') or die;
    exec { $ARGV[0] } @ARGV or POSIX::_exit(127);
  }
  # struct rusage of getrusage(2): two times of two longs, then 14 longs.
  my $rusage = "\0" x (18 * 8);
  my $status = "\0" x 4;
  syscall($wait4, $pid, $status, 0, $rusage) == $pid or die "wait4: $!\n";
  die "cannot run $ARGV[0]\n" if unpack('l', $status) >> 8 == 127;
  my ($us, $uu, $ss, $su, $maxrss) = unpack('q5', $rusage);
  printf "%.3f %d\n", ($us + $ss) * 1e3 + ($uu + $su) / 1e3, $maxrss;
}

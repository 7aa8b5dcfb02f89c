# Asks the kernel to reclaim memory of cgroups as long as they hardly wait for memory: what
# Meta's daemon Senpai does, as oomd has it, with the sizes and times that Senpai is
# published with. Every 6 s, the kernel is asked for 1 % of what a cgroup has, unless one of
# its tasks waited for memory or for input and output for THRESHOLD of the last 10 s or of
# the last minute, both averages that decay.
#
#   pressure_reclaim.pl FASTER THRESHOLD CGROUP...
#
# All of its times pass FASTER times as fast, but waiting takes as long as it takes: what
# counts is the time that was waited, divided by the time that would have passed otherwise.
# See the kernel's accounting/psi.rst and admin-guide/cgroup-v2.rst (memory.reclaim).
use strict;
use warnings;

# In seconds. The kernel brings its own averages up to date as often.
my ($interval, $look, @windows) = (6, 2, 10, 60);
my $share = 0.01;

my ($faster, $threshold, @cgroups) = @ARGV;
my $pause = $look / $faster;
my %groups = map { $_ => {} } @cgroups;
my ($until_next, $last) = ($interval, uptime());

while (1) {
  select undef, undef, undef, $pause;
  my $now = uptime();
  my $passed = ($now - $last) * $faster;
  next if $passed <= 0;
  $last = $now;
  $until_next -= $passed;
  for my $cgroup (@cgroups) {
    my $is_calm = 1;
    for my $resource ('memory', 'io') {
      my $waited = waited($cgroup, $resource);
      my $state = $groups{$cgroup}{$resource} //=
        { waited => $waited, average => [map { 0 } @windows] };
      my $stalled = ($waited - $state->{waited}) / $passed;
      $state->{waited} = $waited;
      for my $index (0 .. $#windows) {
        my $keep = exp(-$passed / $windows[$index]);
        my $average = $state->{average}[$index] * $keep + $stalled * (1 - $keep);
        $state->{average}[$index] = $average;
        $is_calm &&= $average < $threshold;
      }
    }
    reclaim($cgroup) if $is_calm && $until_next <= 0;
  }
  $until_next = $interval if $until_next <= 0;
}

# Seconds since the kernel started.
sub uptime { return (split ' ', contents('/proc/uptime'))[0] }

# For how many seconds at least one task of a cgroup has waited so far.
sub waited {
  my ($cgroup, $resource) = @_;
  contents("$cgroup/$resource.pressure") =~ /^some .*total=(\d+)/m or die "no pressure of $cgroup";
  return $1 / 1e6;
}

# The kernel says EAGAIN if it reclaims less, which is no error here.
sub reclaim {
  my ($cgroup) = @_;
  my $bytes = int(contents("$cgroup/memory.current") * $share / 4096) * 4096;
  open my $file, '>', "$cgroup/memory.reclaim" or die "$cgroup/memory.reclaim: $!";
  syswrite $file, $bytes;
}

sub contents {
  my ($path) = @_;
  open my $file, '<', $path or die "$path: $!";
  local $/;
  return scalar <$file>;
}

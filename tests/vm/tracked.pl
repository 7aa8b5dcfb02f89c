# A process whose memory has exactly known contents, and which changes as it is told.
#
# It has 16 MiB of memory, of which each page holds the number of the turn in which it
# was last written. It reads some of it 20 times a second. Its process id is in
# FOLDER/pid.
#
# A turn begins when the file FOLDER/begin.N appears: it writes every N-th page, and makes
# the file FOLDER/done.N. In turn 0, after all others, it compares every page with what it
# should hold, and writes the number of wrong ones to FOLDER/wrong.

use strict;
use warnings;

use constant { PAGE => 4096, PAGES => 4096, HOT => 256, TURNS => 3 };

my ($folder) = @ARGV;
my @expected = (1) x PAGES;
my $memory = '';
vec($memory, PAGES * PAGE - 1, 8) = 0;

sub put {
    my ($page, $turn) = @_;
    substr($memory, $page * PAGE, 8, pack 'Q', $turn);
    $expected[$page] = $turn;
}

sub made {
    my ($name) = @_;
    open my $file, '>', "$folder/$name" or die "$folder/$name: $!\n";
    return $file;
}

sub wait_for {
    my ($name) = @_;
    my $sum = 0;
    until (-e "$folder/$name") {
        $sum ^= ord substr $memory, $_ * PAGE, 1 for 0 .. HOT - 1;
        select undef, undef, undef, 0.05;
    }
}

my $pid = made('pid');
print $pid "$$\n";
close $pid;
put($_, 1) for 0 .. PAGES - 1;
made('done.1');
for my $turn (2 .. TURNS) {
    wait_for("begin.$turn");
    # From the cold end, so that what is hot stays apart from what is written.
    put(PAGES - 1 - $_, $turn) for grep { $_ % $turn == 0 } 0 .. PAGES - 1 - HOT;
    made("done.$turn");
}
wait_for('begin.0');
my $wrong = grep {
    unpack('Q', substr $memory, $_ * PAGE, 8) != $expected[$_]
} 0 .. PAGES - 1;
my $report = made('wrong.part');
print $report "$wrong\n";
close $report;
rename "$folder/wrong.part", "$folder/wrong";

# Reads messages with Perl's Email::MIME: hex, one a line, on standard input; one line of JSON for each on standard output.
use strict;
use warnings;
use Email::MIME;
use Encode qw(decode);
use Email::Address::XS qw(parse_email_addresses);
use JSON::PP;

my $json = JSON::PP->new->ascii->canonical;
$| = 1;

while (my $line = <STDIN>) {
    chomp $line;
    my $message = Email::MIME->new(pack 'H*', $line);
    my %found = (subject => scalar $message->header_str('Subject'), text => undef, html => undef, parts => []);
    for my $field (['from', 'From'], ['to', 'To'], ['cc', 'Cc'], ['reply_to', 'Reply-To']) {
        my @people;
        for my $header ($message->header_as_obj($field->[1])) {
            next unless defined $header;
            push @people, map { [$_->phrase, text($_->address)] } $header->addresses;
        }
        $found{$field->[0]} = \@people;
    }
    walk($message, \%found);
    print $json->encode(\%found), "\n";
}

# Raw UTF-8 in a header (RFC 6532) is handed out as octets.
sub text {
    my ($octets) = @_;
    return $octets if !defined $octets || $octets =~ /[^\x00-\xff]/ || $octets !~ /[\x80-\xff]/;
    return decode('UTF-8', $octets);
}

sub walk {
    my ($part, $found) = @_;
    my ($type) = split /;/, lc($part->content_type // 'text/plain');
    $type =~ s/\s+$//;
    if ($type =~ m{^multipart/}) {
        walk($_, $found) for $part->subparts;
        return;
    }
    my $disposition = $part->header('Content-Disposition') // '';
    my $name = $part->filename;
    if ($disposition eq '' && $type eq 'text/plain' && !defined $found->{text}) {
        $found->{text} = $part->body_str;
    }
    elsif ($disposition eq '' && $type eq 'text/html' && !defined $found->{html}) {
        $found->{html} = $part->body_str;
    }
    else {
        my $id = $part->header('Content-ID') // '';
        push @{ $found->{parts} },
            { filename => $name, type => $type, cid => $id, content => unpack('H*', $part->body) };
    }
}

"""What a real server shows of each case of the lint's corpus."""

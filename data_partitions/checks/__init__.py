"""What a hospital's files hold and what is doubtful about them, before anything is prepared."""

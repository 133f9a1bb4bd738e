"""Operations: the commands of the people who run Millrace. It stands above the services; only the lab stands above it.

It reads through each service's public `commands` module and writes nothing of theirs but migrations.
"""

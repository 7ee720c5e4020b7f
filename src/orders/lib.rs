//! What parent and children say to each other over their sockets

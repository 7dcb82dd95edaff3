# Portcullis in a container: built in one stage, run as nobody in particular in another.
#
#   docker build -t portcullis .
#   docker run -p 8080:8080 -v portcullis:/data -e SECRET_KEY="$(openssl rand -base64 48)" portcullis
#
# It reads /etc/portcullis/portcullis.yaml (config/docker.yaml of the project; mount your own over
# it), which takes DATABASE_URL, SECRET_KEY and PUBLIC_URL from the environment and keeps its data in
# /data.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin portcullis

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --home-dir /data --no-create-home portcullis \
    && install --directory --owner=portcullis --group=portcullis --mode=0700 /data
COPY --from=build /src/target/release/portcullis /usr/local/bin/portcullis
COPY --from=build /src/config/docker.yaml /etc/portcullis/portcullis.yaml
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["portcullis", "health", "-c", "/etc/portcullis/portcullis.yaml"]
# SIGTERM drains; an orchestrator should wait longer than `drain` before it kills.
STOPSIGNAL SIGTERM
ENTRYPOINT ["portcullis"]
CMD ["serve", "-c", "/etc/portcullis/portcullis.yaml"]

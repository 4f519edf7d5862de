# Find nuclei in images of the current folder:
#   docker build -t monuseg .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/images" monuseg segment slide.svs
# Run the whole graph, and take its results out:
#   docker build -t monuseg-pipeline --target pipeline .
#   docker run --name run monuseg-pipeline && docker cp run:/home/monuseg/metrics .

FROM python:3.13.14-slim-trixie@sha256:6771159cd4fa5d9bba1258caf0b82e6b73458c694d178ad97c5e925c2d0e1a91 AS python
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM python AS pipeline
COPY .github/docker/system /usr/local/sbin/
RUN ["system"]
WORKDIR /home/monuseg
COPY --chown=monuseg:monuseg . .
USER 10001
RUN [".github/docker/pipeline", "environment"]
CMD ["make", "repro"]

FROM python AS installed
WORKDIR /source
COPY . .
RUN [".github/docker/segment", "/opt/monuseg"]

# The last is what `docker build` makes by default.
FROM python AS segment
COPY --from=installed /opt/monuseg /opt/monuseg
ENV PATH=/opt/monuseg/bin:$PATH HOME=/tmp
WORKDIR /images
USER 10001
ENTRYPOINT ["monuseg"]
CMD ["--help"]

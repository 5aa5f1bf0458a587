# The playground in a container, on the CPU or, with the same image, on a GPU of the host:
#   docker build -t qwen3-vl-playground .
#   docker run --rm -p 7860:7860 qwen3-vl-playground
#   docker run --rm -p 7860:7860 --gpus all -v models:/models qwen3-vl-playground \
#       --model Qwen/Qwen3-VL-2B-Instruct --public
FROM python:3.12-slim

# Nobody's rights inside: what visitors upload is decoded here.
RUN useradd --uid 1000 player && mkdir /models /srv/app && chown player /models /srv/app
WORKDIR /srv/app

COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt

COPY --chown=player app.py LICENSE README.md ./
COPY --chown=player components components
COPY --chown=player playground playground

USER player
ENV HOME=/srv/app HF_HOME=/models PYTHONUNBUFFERED=1
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD python -c \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/healthz')"
ENTRYPOINT ["python", "app.py", "--host", "0.0.0.0"]
CMD ["--public"]

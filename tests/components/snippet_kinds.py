"""The kinds of prompts that every snippet is run for."""

TRICKY = "Say \"'hi'\"\\n {braces} \\ \n two lines\t<|im_end|> 描述这张图片。🙂"
KINDS = ("text", "chinese", "tricky", "image", "two_images", "video", "image_and_video")
